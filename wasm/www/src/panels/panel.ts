import type { Engine } from "../engine/client";
import type { Settings } from "../state";
import type { Store } from "../store";

/** What every chapter of the page is given. */
export interface PanelContext {
  readonly engine: Engine;
  readonly settings: Store<Settings>;
  /** The landscape of the race as it is now; whoever makes one from it frees that. */
  readonly landscape: Store<Terrain>;
  /** Says something to screen readers. */
  readonly announce: (text: string) => void;
  /** Loads a setup: starts the race anew with it, and scrolls there unless told to stay. */
  readonly go: (change: Partial<Settings>, stay?: boolean) => void;
}

/** A landscape as plain numbers. */
export interface Terrain {
  readonly rewards: Float64Array;
  readonly reference: Float64Array;
  readonly peaks: Uint32Array;
}

/** A chapter: fills the body of its section. It stays for as long as the page. */
export type Mount = (body: HTMLElement, context: PanelContext) => void;
