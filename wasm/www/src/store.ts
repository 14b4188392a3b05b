/** A value that tells its subscribers when it changes. */
export interface Store<T> {
  get(): T;
  set(value: T): void;
  /** Changes some fields of an object. */
  patch(change: Partial<T>): void;
  /** Calls back on every change, and at once if `now`. Gives a function that ends it. */
  subscribe(changed: (value: T, before: T) => void, now?: boolean): () => void;
}

/** Makes a store. Setting the value it has tells nobody. */
export function createStore<T>(value: T): Store<T> {
  const subscribers = new Set<(value: T, before: T) => void>();
  const store: Store<T> = {
    get: () => value,
    set(next) {
      if (Object.is(next, value)) return;
      const before = value;
      value = next;
      for (const changed of [...subscribers]) changed(value, before);
    },
    patch: (change) => store.set({ ...value, ...change }),
    subscribe(changed, now = false) {
      subscribers.add(changed);
      if (now) changed(value, value);
      return () => subscribers.delete(changed);
    },
  };
  return store;
}
