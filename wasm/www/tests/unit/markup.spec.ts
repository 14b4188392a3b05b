import { readFileSync, readdirSync } from "node:fs";
import { expect, test } from "@playwright/test";
import { STAGES } from "../../src/panels/update/words.ts";
import { BOUNDS, METRICS, PARTS } from "../../src/state.ts";

const page = readFileSync(new URL("../../index.html", import.meta.url), "utf8");

/** What `pattern` finds in the element with this id, up to the end of the first `tag`. */
function inside(id: string, tag: string, pattern: RegExp): string[] {
  const from = page.indexOf(`id="${id}"`);
  expect(from, id).toBeGreaterThan(0);
  return [...page.slice(from, page.indexOf(`</${tag}>`, from)).matchAll(pattern)].map(([, found]) => found!);
}

test("no id stands twice in the page", () => {
  const ids = [...page.matchAll(/ id="([^"]+)"/g)].map(([, id]) => id);
  expect(ids.length).toBeGreaterThan(100);
  expect(ids.filter((id, i) => ids.indexOf(id) !== i)).toEqual([]);
});

test("what scripts ask for by its id is in the page", () => {
  const sources = new URL("../../src/", import.meta.url);
  const asked = readdirSync(sources, { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".ts"))
    .flatMap((name) => [...readFileSync(new URL(name, sources), "utf8").matchAll(/(?:byId|radios)(?:<[^(]*>)?\("(.+?)"/g)])
    .map(([, id]) => id!);
  expect(asked.length).toBeGreaterThan(100);
  for (const id of asked) expect(page, id).toContain(` id="${id}"`);
});

test("every label is that of a control", () => {
  for (const [, id] of page.matchAll(/<label for="([^"]+)"/g)) expect(page).toMatch(new RegExp(`<(input|select)[^>]* id="${id}"`));
});

test("numbers are typed within the bounds of a link", () => {
  for (const key of ["samples", "learningRate", "logZLearningRate", "seed"] as const) {
    const [low, high] = /min="(.*?)" max="(.*?)"/.exec(page.slice(page.indexOf(`id="${key}"`)))!.slice(1).map(Number);
    expect([low, high], key).toEqual([...BOUNDS[key]]);
  }
});

test("a teacher can hide every part", () => {
  expect(inside("teacher-parts", "fieldset", /value="(.*?)"/g)).toEqual([...PARTS]);
});

test("every metric of the race has a label and a meaning, and an update has its steps", () => {
  for (const name of METRICS) expect(page).toMatch(new RegExp(`<option value="${name}"[^>]* title="[^"]+">[^<]+<`));
  expect(inside("update-stages", "fieldset", /<span>(.*?)<\/span>/g)).toEqual([...STAGES]);
});
