/**
 * Errors that more than one command has.
 *
 * @module
 */
import { NotFoundError } from "../errors.ts";
import { showKey } from "../key.ts";

export function noSuchKey(
  verb: string,
  name: string,
  key: string,
): NotFoundError {
  return new NotFoundError(
    verb,
    `entry ${showKey(key)}`,
    `it is not in pool ${JSON.stringify(name)}`,
    `See what is: cortex cache entries ${name}`,
  );
}
