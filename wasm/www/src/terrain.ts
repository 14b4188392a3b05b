import { Landscape } from "flowrl_wasm";
import { type Settings, SIDE } from "./state";
import type { Terrain } from "./panels/panel";

/** The landscape that the settings describe, as the module makes it. */
export function terrainOf({ preset, seed, drawing }: Settings): Terrain {
  const landscape = drawing
    ? Landscape.of(SIDE, Float64Array.from(drawing.rewards, (shade) => shade / 255), Float64Array.from(drawing.reference))
    : Landscape.preset(preset, SIDE, seed);
  const terrain = { rewards: landscape.rewards(), reference: landscape.reference(), peaks: landscape.peaks() };
  landscape.free();
  return terrain;
}
