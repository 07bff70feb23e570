/**
 * Watches the stores to shared memory that are no atomic operation: those of
 * counts, of heads and of maps of blocks, under the pool's lock.
 *
 * @module
 */
import { Bitmap } from "../lib/bitmap.ts";
import { Header } from "../lib/header.ts";

/**
 * Calls `before` ahead of each of them.
 *
 * @returns ends it.
 */
export function watchPlainStores(before: () => void): () => void {
  const { set: setWord } = Header.prototype;
  const { set, clear } = Bitmap.prototype;
  Header.prototype.set = function (...args) {
    before();
    setWord.apply(this, args);
  };
  Bitmap.prototype.set = function (...args) {
    before();
    set.apply(this, args);
  };
  Bitmap.prototype.clear = function (...args) {
    before();
    clear.apply(this, args);
  };
  return () => {
    Header.prototype.set = setWord;
    Object.assign(Bitmap.prototype, { set, clear });
  };
}
