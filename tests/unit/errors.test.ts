import { test } from "node:test";
import assert from "node:assert/strict";
import { OsError } from "../../ffi/platform.ts";
import {
  BusyError,
  ClosedError,
  CorruptError,
  CortexError,
  describeOsError,
  ExistsError,
  FailedError,
  isOsError,
  NoSpaceError,
  NotFoundError,
  onHost,
  UsageError,
} from "../../lib/errors.ts";
import { assertRefuses } from "../helpers.ts";

test("every error says what cannot be done to what, and why", () => {
  const classes = {
    USAGE: UsageError,
    NOT_FOUND: NotFoundError,
    EXISTS: ExistsError,
    BUSY: BusyError,
    CORRUPT: CorruptError,
    NO_SPACE: NoSpaceError,
    CLOSED: ClosedError,
    FAILED: FailedError,
  };
  for (const [code, Class] of Object.entries(classes)) {
    const error = new Class("open", 'pool "x"', "it is blue", "Paint it");
    assert.equal(error.message, 'Cannot open pool "x": it is blue');
    assert.equal(error.hint, "Paint it");
    assert.equal(error.code, code);
    assert.ok(error instanceof CortexError);
    assert.ok(error instanceof Error);
  }
});

test("an error keeps its cause, and has no hint unless it was given one", () => {
  const cause = new Error("why");
  const error = new FailedError("a", "b", "c", undefined, cause);
  assert.equal(error.cause, cause);
  assert.equal(error.hint, undefined);
});

test("onHost() gives a refusal of the host our class and our words", () => {
  const expected = {
    ENOENT: NotFoundError,
    ENOTDIR: NotFoundError,
    EEXIST: ExistsError,
    EISDIR: CorruptError,
    ENOTREG: CorruptError,
    ELOOP: CorruptError,
    ENXIO: CorruptError,
    ENOSPC: NoSpaceError,
    EDQUOT: NoSpaceError,
    EFBIG: NoSpaceError,
    ENOMEM: NoSpaceError,
    EACCES: FailedError,
    EPERM: FailedError,
    EROFS: FailedError,
    EIO: FailedError,
    EMFILE: FailedError,
    EWHATEVER: FailedError,
  };
  for (const [code, Class] of Object.entries(expected)) {
    assertRefuses(
      () =>
        onHost("open", 'pool "x"', () => {
          throw new OsError("shm_open", code);
        }),
      Class,
      /^Cannot open pool "x": /,
    );
  }
});

test("onHost() names the call and the code of a refusal it has no words for", () => {
  assertRefuses(
    () =>
      onHost("open", "it", () => {
        throw new OsError("fcntl", "ENOLCK");
      }),
    FailedError,
    /fcntl said ENOLCK/,
  );
});

test("onHost() lets a result through, and an error that is not the host's", () => {
  assert.equal(onHost("a", "b", () => 7), 7);
  const own = new UsageError("a", "b", "c");
  assert.throws(
    () =>
      onHost("d", "e", () => {
        throw own;
      }),
    (error) => error === own,
  );
  const other = new TypeError("x");
  assert.equal(describeOsError(other, "a", "b"), other);
});

test("isOsError() tells the host's refusals by their code", () => {
  assert.equal(isOsError(new OsError("open", "ENOENT"), "ENOENT"), true);
  assert.equal(isOsError(new OsError("open", "ENOENT"), "EEXIST"), false);
  assert.equal(isOsError({ code: "ENOENT" }, "ENOENT"), false);
  assert.equal(isOsError(undefined, "ENOENT"), false);
});
