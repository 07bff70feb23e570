/**
 * What the doctor says: facts, each of which is as it should be, or needs
 * somebody's attention.
 *
 * @module
 */
import { OsError, type Platform } from "../../ffi/platform.ts";

/** One line. */
export interface Fact {
  readonly topic: string;
  readonly ok: boolean;
  readonly text: string;
  /** What to do about it; `null` if all is well. */
  readonly remedy: string | null;
}

export function fine(topic: string, text: string): Fact {
  return { topic, ok: true, text, remedy: null };
}

export function attention(topic: string, text: string, remedy: string): Fact {
  return { topic, ok: false, text, remedy };
}

/** The names in a directory, or none. */
export function listNames({ files }: Platform, path: string): string[] {
  try {
    return files.list(path).sort();
  } catch (error) {
    if (error instanceof OsError) return [];
    throw error;
  }
}
