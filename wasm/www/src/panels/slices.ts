/** What one slice of work may take of a frame, in milliseconds. */
const SLICE = 6;

/** Calls `work` for a slice of every frame until it returns false, then `done`; gives a function that ends it. */
export function inSlices(
  work: () => boolean,
  done: () => void = () => undefined,
  after?: () => void,
): () => void {
  let frame = requestAnimationFrame(slice);
  function slice(): void {
    const end = performance.now() + SLICE;
    let more = true;
    while (more && performance.now() < end) more = work();
    after?.();
    if (more) frame = requestAnimationFrame(slice);
    else done();
  }
  return () => cancelAnimationFrame(frame);
}
