import { expect, test } from "@playwright/test";
import { createReader, readRun, skippedText } from "../../src/panels/runs/read";

const file = (name: string, ...lines: string[]) => new File([lines.join("\n")], name);

test("every number of a line has its place, and what is missing is NaN", async () => {
  const run = await readRun(
    file(
      "metrics.jsonl",
      '{"step":0,"kl":2}',
      '{"step":10,"kl":null,"loss":1.5}',
      "",
      '{"step":20,"kl":0.5,"note":"x"}',
    ),
  );
  expect([...run.steps]).toEqual([0, 10, 20]);
  expect([...run.columns.keys()]).toEqual(["kl", "loss"]);
  expect([...run.columns.get("kl")!]).toEqual([2, NaN, 0.5]);
  expect([...run.columns.get("loss")!]).toEqual([NaN, 1.5, NaN]);
  expect(run.skipped).toEqual([]);
});

test("numbers that are not finite are read as Python writes them", async () => {
  const run = await readRun(
    file("m", '{"step":0,"kl":NaN,"loss":-Infinity,"tv":1}', '{"step":1,"kl":1,"loss":2}'),
  );
  expect([...run.columns.get("kl")!]).toEqual([NaN, 1]);
  expect([...run.columns.get("loss")!]).toEqual([NaN, 2]);
});

test("bad lines are skipped and named by number", async () => {
  const run = await readRun(
    file("m", '{"step":0,"kl":1}', "{broken", '{"kl":3}', "[1]", "null", '{"step":1,"kl":2}'),
  );
  expect(run.skipped).toEqual([2, 3, 4, 5]);
  expect(skippedText("m", run.skipped)).toBe(
    "m: 4 lines (2, 3, 4, 5) were skipped; wanted a JSON object with a number “step”.",
  );
  expect(skippedText("m", [7])).toContain("line 7 was");
  expect(skippedText("m", [1, 2, 3, 4, 5, 6])).toContain("6 lines (1, 2, 3, 4, 5, …)");
});

test("steps ascend, and of a step that was done twice the later line holds", async () => {
  const run = await readRun(
    file("m", '{"step":0,"kl":9}', '{"step":20,"kl":8}', '{"step":10,"kl":7}', '{"step":20,"kl":6}'),
  );
  expect([...run.steps]).toEqual([0, 10, 20]);
  expect([...run.columns.get("kl")!]).toEqual([9, 7, 6]);
});

test("a file cut anywhere, in letters of several bytes too, reads the same", async () => {
  // More than a slice of 256 kB, with a long name in every line.
  const lines = Array.from({ length: 4000 }, (_, i) => `{"step":${i},"${"β".repeat(40)}":${i / 2}}`);
  const shares: number[] = [];
  // One byte further, a letter of two bytes that lay whole is cut in the middle.
  for (const shift of ["", " "]) {
    const run = await readRun(file("m", shift + lines[0]!, ...lines.slice(1)), (share) => shares.push(share));
    expect(run.skipped).toEqual([]);
    expect(run.steps.length).toBe(4000);
    expect([...run.columns.keys()]).toEqual(["β".repeat(40)]);
    expect(run.columns.get("β".repeat(40))![3999]).toBe(1999.5);
  }
  expect(shares.length).toBeGreaterThan(2);
  expect(shares.at(-1)).toBe(1);
});

test("what is no metrics file is refused by name, early where it is long", async () => {
  await expect(readRun(file("photo.png", "\u0089PNG", "…"))).rejects.toThrow(/^photo\.png has no line/);
  await expect(readRun(file("empty.jsonl"))).rejects.toThrow(/^empty\.jsonl has no line/);
  const large = { name: "huge.jsonl", size: 51e6 } as File;
  await expect(readRun(large)).rejects.toThrow("huge.jsonl has 51 MB; at most 50 MB are read.");
  const reader = createReader();
  for (let i = 0; i < 100; i++) reader.line("no");
  expect(reader.hopeless()).toBe(true);
});
