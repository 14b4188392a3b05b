import { type ChildProcess, execFileSync, spawn, spawnSync } from "node:child_process";
import { appendFileSync, existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type { Page, TestInfo } from "@playwright/test";
import { test as base, expect } from "../support/page.ts";

/** The command line, as `cargo xtask test` builds it. */
const cli = process.env["FLOWRL_CLI"] ?? "";

// There is no server of the lab's page here, nor need it be built.
const test = base.extend({ baseURL: async ({}, use) => use(undefined) });

const children: ChildProcess[] = [];
test.afterEach(() => {
  for (const child of children.splice(0)) child.kill("SIGKILL");
});

const start = (args: string[]): ChildProcess => {
  const child = spawn(cli, args, { stdio: ["ignore", "pipe", "ignore"] });
  children.push(child);
  return child;
};

const ended = (child: ChildProcess): Promise<void> =>
  new Promise((done) => (child.exitCode === null && child.signalCode === null ? child.once("exit", () => done()) : done()));

/** `flowrl-cli watch` on a free port or the given one: its address, and the process. */
async function watch(run: string, port = "0"): Promise<{ url: string; child: ChildProcess }> {
  const child = start(["watch", run, "--port", port]);
  if (child.stdout === null) throw new Error("standard output is piped");
  for await (const url of createInterface(child.stdout)) return { url, child };
  throw new Error(`flowrl-cli watch ${run} printed no address`);
}

const bandit = (run: string, ...more: string[]): string[] =>
  ["train", "--task", "bandit", "--threads", "1", "--out", run, "--quiet", ...more];

/** What the chart of the total variation draws. */
const chart = (page: Page): Promise<string> =>
  page.locator("figure.chart", { has: page.getByRole("heading", { name: "Total variation", exact: true }) }).locator("> svg").innerHTML();
const state = (page: Page) => page.getByRole("status");
const folder = (info: TestInfo): string => info.outputPath("run");

/** Marks the document: one that was loaded again would have lost it. */
const mark = (page: Page): Promise<void> => page.evaluate(() => document.documentElement.setAttribute("data-mark", ""));
const marked = (page: Page) => page.locator("html[data-mark]");

test("a run that goes on is drawn as its records come, and its end is told", async ({ page }, info) => {
  const run = folder(info);
  const training = start(bandit(run, "--steps", "1000000", "--set", "eval.every=50"));
  const records = join(run, "metrics.jsonl");
  await expect.poll(() => existsSync(records) && readFileSync(records, "utf8").split("\n").length).toBeGreaterThan(4);
  const { url } = await watch(run);
  await page.goto(url);
  await expect(state(page)).toHaveText("The run is in progress.");
  await mark(page);
  const numbers = page.locator("figure details");
  await numbers.first().locator("summary").click();
  const before = await chart(page);
  await expect.poll(() => chart(page)).not.toBe(before);
  // What was opened is open, and it alone.
  expect(await numbers.evaluateAll((all) => all.map((details) => details.hasAttribute("open")))).toEqual(
    Array.from({ length: await numbers.count() }, (_, i) => i === 0),
  );
  training.kill("SIGTERM");
  await ended(training);
  await expect(state(page)).toHaveText("The run has ended.");
  // The last of its records is there.
  const last = JSON.parse(readFileSync(records, "utf8").trimEnd().split("\n").at(-1) ?? "") as { step: number };
  const steps = await page.locator(".sub").textContent();
  expect(steps?.replace(/[\s\u202f]/gu, "")).toContain(`${last.step}steps`);
  await expect(marked(page)).toBeVisible();
});

test.describe("a lost connection", () => {
  test.use({ expectedErrors: /ERR_CONNECTION_REFUSED|ERR_INCOMPLETE_CHUNKED_ENCODING|ERR_CONNECTION_RESET|status of 500/ });

  test("is told, and made up for by itself", async ({ page }, info) => {
    test.skip(spawnSync("flock", ["--version"]).error !== undefined, "no flock here, which holds a run's lock");
    const run = folder(info);
    execFileSync(cli, bandit(run, "--steps", "20"), { stdio: "ignore" });
    // Somebody holds the lock: for the page the run goes on.
    const lock = spawn("flock", ["--exclusive", join(run, ".lock"), "cat"], { stdio: ["pipe", "ignore", "ignore"] });
    children.push(lock);
    const first = await watch(run);
    await page.goto(first.url);
    await expect(state(page)).toHaveText("The run is in progress.");
    await mark(page);
    const before = await chart(page);
    first.child.kill("SIGKILL");
    await expect(state(page)).toContainText("does not answer");
    expect(await chart(page)).toBe(before);
    appendFileSync(join(run, "metrics.jsonl"), '{"step":21,"tv":0.5}\n');
    await watch(run, new URL(first.url).port);
    await expect(state(page)).toHaveText("The run is in progress.");
    expect(await chart(page)).not.toBe(before);
    // A record that nobody can read is told of in the place of the state.
    appendFileSync(join(run, "metrics.jsonl"), "{}}\n");
    await expect(state(page)).toContainText("metrics.jsonl:");
    lock.stdin?.end();
    await expect(marked(page)).toBeVisible();
  });
});
