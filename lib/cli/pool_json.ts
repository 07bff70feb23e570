/**
 * A pool's status as the command line's JSON.
 *
 * @module
 */
import type { EntryInfo, PoolStatus } from "../describe.ts";
import { isoTime } from "./format.ts";

/** The status with its times in ISO 8601. */
export function toJson(status: PoolStatus) {
  return {
    ...status,
    created_at: isoTime(status.created_at),
    modified_at: isoTime(status.modified_at),
    last_persist_at: isoTime(status.last_persist_at),
  };
}

/** The entry with its times in ISO 8601. */
export function entryToJson(entry: EntryInfo) {
  return {
    ...entry,
    created_at: isoTime(entry.created_at),
    last_access_at: isoTime(entry.last_access_at),
    expires_at: isoTime(entry.expires_at ?? null),
  };
}
