import { type Settings, SIDE } from "./state";
import type { Terrain, Wasm } from "./panels/panel";

/** The landscape that the settings describe, as the module makes it. */
export function terrainOf(wasm: Wasm, { preset, seed, drawing }: Settings): Terrain {
  const landscape = drawing
    ? wasm.Landscape.of(SIDE, Float64Array.from(drawing.rewards, (shade) => shade / 255), Float64Array.from(drawing.reference))
    : wasm.Landscape.preset(preset, SIDE, seed);
  const terrain = { rewards: landscape.rewards(), reference: landscape.reference(), peaks: landscape.peaks() };
  landscape.free();
  return terrain;
}
