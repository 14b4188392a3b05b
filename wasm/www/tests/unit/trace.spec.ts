import { readFileSync } from "node:fs";
import { expect, test } from "@playwright/test";
import type { LaneKind, Race } from "flowrl_wasm";
import { wasm } from "../support/module.ts";

type Lane = readonly [LaneKind, number, number];

function race(start: (options: InstanceType<typeof wasm.RaceOptions>) => Race, lanes: readonly Lane[]): Race {
  const options = new wasm.RaceOptions();
  Object.assign(options, { seed: 11, samples: 32, recordEvery: 50 });
  for (const lane of lanes) options.addLane(...lane);
  const made = start(options);
  options.free();
  return made;
}

// The race of wasm/tests/trace.rs, which the native build compares with the same file.
test("the shipped module gives the native trace, to the last bit", () => {
  const kinds = wasm.laneKinds();
  let csv = "";
  for (const chosen of [kinds.slice(0, 4), kinds.slice(4)]) {
    const run = race(
      (options) => wasm.Race.onLandscape(wasm.Landscape.preset("random", 16, 3), options),
      chosen.map((kind) => [kind, 0, 0] as const),
    );
    run.run(100);
    run.setBeta(12);
    run.run(100);
    run.setLandscape(wasm.Landscape.preset("blind-spot", 16, 3));
    expect(run.fork(150)).toBe(150);
    run.run(150);
    csv += run.csv();
  }
  const run = race(
    (options) => wasm.Race.onTree(new wasm.Tree(5, 3, 3, 5), options),
    [["flowrl", 0.1, 0], ["flowrl", 0, 0.5], ["normalised", 0, 0]],
  );
  run.run(200);
  csv += run.csv();
  const expected = readFileSync(new URL("../../../tests/trace.csv", import.meta.url), "utf8");
  expect(csv.split("\n")).toEqual(expected.split("\n"));
});
