import { expect, test } from "@playwright/test";
import type { LaneKind } from "flowrl_wasm";
import { createEngine } from "../../src/engine/client.ts";
import type { Command, Message, Setup } from "../../src/engine/protocol.ts";

const SIDE = 2;
const MEASURES = ["kl"];

/** What a race of these lanes sends after so many steps. */
function frame(number: number, lanes: number, step: number): Message {
  const each = MEASURES.length + SIDE * SIDE;
  return {
    type: "frame",
    number,
    shown: step,
    step,
    frame: new Float32Array(lanes * each),
    from: 0,
    records: new Float64Array(1 + lanes * MEASURES.length),
    snapshots: new Float64Array(),
    rate: 0,
  };
}

/** The engine of the page, with a worker that says what the test lets it say. */
function lab() {
  const heard: Command[] = [];
  const workers: { onmessage?: (event: { data: Message }) => void }[] = [];
  class Silent {
    constructor() {
      workers.push(this as never);
    }
    postMessage(command: Command) {
      heard.push(command);
    }
    terminate() {}
  }
  Object.assign(globalThis, { Worker: Silent });
  const engine = createEngine();
  return {
    engine,
    start: (lanes: readonly LaneKind[]) => engine.start({ side: SIDE, lanes } as Setup),
    starts: () => heard.filter((command) => command.type === "start"),
    say: (...messages: Message[]) => messages.forEach((data) => workers.at(-1)!.onmessage!({ data })),
  };
}

const started = (number: number): Message => ({ type: "started", number, measures: MEASURES });

test("a frame of the race before is not read as one of this race", () => {
  const { engine, start, say } = lab();
  const shown = () => engine.frame.get()?.lanes.map(({ kind, probabilities }) => [kind, probabilities.length]);
  start(["flowrl", "vargrad"]);
  say(started(1), frame(1, 2, 7));
  expect(shown()).toEqual([["flowrl", 4], ["vargrad", 4]]);
  start(["flowrl", "grpo", "ppo"]);
  say(frame(1, 2, 8));
  expect(shown()).toEqual([["flowrl", 4], ["vargrad", 4]]);
  expect(engine.history.get().kinds).toEqual(["flowrl", "vargrad"]);
  expect(engine.status.get().step).toBe(0);
  say(started(2), frame(2, 3, 1));
  expect(shown()).toEqual([["flowrl", 4], ["grpo", 4], ["ppo", 4]]);
  expect(engine.history.get().kinds).toEqual(["flowrl", "grpo", "ppo"]);
});

test("after a trap no race goes on from what another saved", () => {
  const { start, starts, say } = lab();
  const trap: Message = { type: "failed", error: "unreachable", trapped: true };
  const saved = (number: number): Message => ({ type: "saved", number, step: 5, bytes: new Uint8Array(1) });
  start(["flowrl", "vargrad"]);
  say(started(1));
  start(["flowrl"]);
  say(saved(1), trap);
  expect(starts().at(-1)).toMatchObject({ number: 3, saved: null });
  say(started(3), saved(3), trap);
  expect(starts().at(-1)).toMatchObject({ number: 4, saved: new Uint8Array(1) });
});
