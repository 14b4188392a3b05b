/** A worker that runs what boot.ts has under this name. */
export const spawn = (name: string): Worker => new Worker(import.meta.url, { type: "module", name });
