// Small helpers to wait with.

/** @param {number} ms @returns {Promise<void>} */
export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** A promise that is settled from outside; nobody has to look at its failure. @template T */
export class Deferred {
  constructor() {
    /** @type {PromiseWithResolvers<T>} */
    const { promise, resolve, reject } = Promise.withResolvers();
    promise.catch(() => {});
    this.promise = promise;
    this.resolve = resolve;
    this.reject = reject;
  }
}

/** What arrives is taken in order; after what is there, everybody gets the cause of the end. @template T */
export class Queue {
  /** @type {T[]} */
  #items = [];
  /** @type {Deferred<void>} */
  #change = new Deferred();
  /** @type {Error | undefined} */
  #cause;

  /** @param {T} item */
  push(item) {
    this.#items.push(item);
    this.#wake();
  }

  /** @param {Error} cause */
  end(cause) {
    this.#cause ??= cause;
    this.#wake();
  }

  #wake() {
    this.#change.resolve();
    this.#change = new Deferred();
  }

  /** @returns {Promise<T>} */
  async next() {
    while (this.#items.length === 0) {
      if (this.#cause) throw this.#cause;
      await this.#change.promise;
    }
    return /** @type {T} */ (this.#items.shift());
  }
}
