import { Landscape } from "flowrl_wasm";
import type { Contour } from "../charts";
import { contours, massLevels } from "../charts";
import type { PanelContext, Terrain } from "../panels/panel";
import { SIDE } from "../state";
import { type Store, createStore } from "../store";

/** Where the policies should go, exactly: the target of the landscape at β. */
export interface Aim {
  readonly beta: number;
  readonly terrain: Terrain;
  readonly probabilities: Float64Array;
  readonly logZ: number;
  readonly entropy: number;
  /** exp(entropy): how many answers the target spreads over. */
  readonly effective: number;
  readonly expectedReward: number;
  /** The target's share of each peak's hill. */
  readonly shares: Float64Array;
  /** Lines around the smallest areas that hold a half, four fifths and 95 % of the target. */
  readonly contours: readonly Contour[];
}

/** The target, which follows β and the landscape in the same frame. */
export function createAim({ settings, landscape }: PanelContext): Store<Aim> {
  const make = (beta: number, terrain: Terrain): Aim => {
    const made = Landscape.of(SIDE, terrain.rewards, terrain.reference);
    const target = made.target(beta);
    const probabilities = target.probabilities();
    const { logZ, entropy, effective, expectedReward } = target;
    const shares = target.peakShares();
    target.free();
    made.free();
    const lines = contours(probabilities, SIDE, massLevels(probabilities, [0.5, 0.8, 0.95]));
    return { beta, terrain, probabilities, logZ, entropy, effective, expectedReward, shares, contours: lines };
  };
  const aim = createStore(make(settings.get().beta, landscape.get()));
  settings.subscribe(({ beta }) => {
    if (beta !== aim.get().beta) aim.set(make(beta, landscape.get()));
  });
  landscape.subscribe((terrain) => aim.set(make(settings.get().beta, terrain)));
  return aim;
}
