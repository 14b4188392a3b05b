import type { LaneKind } from "flowrl_wasm";
import { createStore } from "../store";

/** The cell that the pointer or the keyboard is on, shown in every map; −1 for none. */
export const cell = createStore(-1);

/** The step that the metrics' cursor is on; null for none. */
export const cursor = createStore<number | null>(null);

/** Lanes that run, but are not shown. */
export const unseen = createStore<ReadonlySet<LaneKind>>(new Set());

/** Shows a lane or does not. */
export function toggleSeen(kind: LaneKind): void {
  const next = new Set(unseen.get());
  if (!next.delete(kind)) next.add(kind);
  unseen.set(next);
}
