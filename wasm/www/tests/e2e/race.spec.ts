import { measure, open, runTo } from "../support/lab.ts";
import { expect, test } from "../support/page.ts";

test.describe("the race as it opens", () => {
  test.use({ contextOptions: { reducedMotion: "no-preference" } });

  test("it runs without a click, and pauses under reduced motion", async ({ browser, origin, page }) => {
    await open(page);
    await page.waitForFunction(() => window.flowrl.engine.status.get().step > 20);
    const calm = await browser.newPage({ reducedMotion: "reduce" });
    await calm.goto(`${origin}/`);
    await calm.waitForFunction(() => Boolean(window.flowrl?.engine.frame.get()));
    await calm.waitForTimeout(500);
    expect(await calm.evaluate(() => window.flowrl.engine.status.get().step)).toBe(0);
    await calm.locator("#race").getByRole("button", { name: "Play", exact: true }).click();
    await calm.waitForFunction(() => window.flowrl.engine.status.get().step > 5);
    await calm.close();
  });

  test("a tab out of sight pauses", async ({ page }) => {
    await open(page);
    await page.evaluate(() => {
      Object.defineProperty(document, "hidden", { value: true, configurable: true });
      document.dispatchEvent(new Event("visibilitychange"));
    });
    expect(await page.evaluate(() => window.flowrl.engine.status.get().playing)).toBe(false);
    await page.evaluate(() => {
      Object.defineProperty(document, "hidden", { value: false, configurable: true });
      document.dispatchEvent(new Event("visibilitychange"));
    });
    expect(await page.evaluate(() => window.flowrl.engine.status.get().playing)).toBe(true);
  });

  test("after a trap the race goes on from the last saved state, and says so", async ({ page }) => {
    await open(page);
    await page.waitForFunction(() => window.flowrl.engine.status.get().step > 500);
    await page.evaluate(() => window.flowrl.engine.crash());
    await expect(page.getByRole("alert")).toContainText(/started again from step [1-9]/);
    const from = await page.evaluate(() => window.flowrl.engine.status.get().step);
    await page.waitForFunction((step) => window.flowrl.engine.status.get().step > step + 50, from);
    expect((await measure(page, "kl"))["flowrl"]).toBeLessThan(0.1);
  });
});

test("after 600 steps of the default seed FlowRL has four peaks of four, and the maximisers one", async ({ page }) => {
  await open(page);
  await runTo(page, 600);
  const [peaks, kl] = [await measure(page, "modes_found"), await measure(page, "kl")];
  expect(peaks).toMatchObject({ flowrl: 4, grpo: 1, ppo: 1, reinforce: 1, "reward-kl": 4 });
  expect(kl["flowrl"]).toBeLessThan(0.05);
  expect(kl["grpo"]).toBeGreaterThan(1);
  await expect(page.locator('article[data-lane="flowrl"] .badge')).toHaveText("4 of 4 peaks");
  await expect(page.locator('article[data-lane="grpo"] .badge')).toHaveText("1 of 4 peaks");
});

test("the same seed gives the same table, another seed another", async ({ page }) => {
  await open(page);
  const table = async () => {
    await runTo(page, 100);
    return page.evaluate(() => window.flowrl.engine.csv());
  };
  const first = await table();
  expect(await table()).toBe(first);
  await page.evaluate(() => window.flowrl.settings.patch({ seed: 5 }));
  expect(await table()).not.toBe(first);
  expect(first.split("\n").length).toBe(1 + 11 * 6 + 1);
});

test("β moves the target within a frame, by keyboard and by mouse", async ({ page }) => {
  await open(page);
  const slider = page.locator("#beta");
  const target = () =>
    page.evaluate(
      () =>
        new Promise<string>((resolve) =>
          requestAnimationFrame(() =>
            requestAnimationFrame(() => resolve(document.querySelector<HTMLCanvasElement>(".target canvas")!.toDataURL())),
          ),
        ),
    );
  const before = await target();
  const text = await page.locator(".beta .readout").textContent();
  await slider.focus();
  await page.keyboard.press("ArrowRight");
  expect(await target()).not.toBe(before);
  expect(await page.locator(".beta .readout").textContent()).not.toBe(text);
  await page.keyboard.press("Home");
  await expect(page.locator(".beta-value")).toHaveText("0");
  await expect(page.locator(".beta .readout")).toContainText("256 of 256");
  const box = (await slider.boundingBox())!;
  await page.mouse.move(box.x + 5, box.y + box.height / 2);
  await page.mouse.down();
  await page.mouse.move(box.x + box.width * 0.8, box.y + box.height / 2, { steps: 5 });
  await page.mouse.up();
  expect(Number(await page.locator(".beta-value").textContent())).toBeGreaterThan(5);
  expect(await slider.getAttribute("aria-valuetext")).toMatch(/the target spreads over .* answers/);
});

test("policies follow β without a restart", async ({ page }) => {
  await open(page);
  await runTo(page, 400);
  await page.evaluate(() => window.flowrl.settings.patch({ beta: 1 }));
  await page.evaluate(() => window.flowrl.engine.step(1));
  await page.waitForFunction(() => window.flowrl.engine.status.get().step === 401);
  const far = (await measure(page, "kl"))["flowrl"]!;
  await page.evaluate(() => window.flowrl.engine.step(600));
  await page.waitForFunction(() => window.flowrl.engine.status.get().step === 1001);
  const near = (await measure(page, "kl"))["flowrl"]!;
  expect(far).toBeGreaterThan(0.1);
  expect(near).toBeLessThan(0.02);
});

test("time goes back, and on from there", async ({ page }) => {
  await open(page);
  await runTo(page, 300);
  const scrub = page.getByLabel("Time: back to an earlier step");
  await scrub.focus();
  await page.keyboard.press("Home");
  await expect(page.locator(".step-count")).toHaveText("0");
  await expect(page.locator('article[data-lane="grpo"] .badge')).toHaveText(/^[0-4] of 4 peaks$/);
  await page.keyboard.press("PageUp");
  await page.waitForFunction(() => (window.flowrl.engine.status.get().shown ?? 0) > 0);
  const shown = await page.evaluate(() => window.flowrl.engine.status.get().shown);
  await page.getByRole("button", { name: "Go on from here" }).click();
  await page.waitForFunction((from) => window.flowrl.engine.status.get().step > from, shown!);
  await page.locator("#race").getByRole("button", { name: "Pause", exact: true }).click();
  const csv = await page.evaluate(() => window.flowrl.engine.csv());
  expect(csv).toContain(`\n${shown},flowrl,`);
});

test("lanes can be shown alone, hidden, exchanged", async ({ page }) => {
  await open(page);
  await page.getByRole("button", { name: "Show GRPO alone" }).click();
  await expect(page.locator(".lanes > article:visible")).toHaveCount(1);
  await page.getByRole("button", { name: "Show all lanes" }).click();
  await page.getByRole("button", { name: "Hide PPO" }).click();
  await expect(page.locator(".lanes > article:visible")).toHaveCount(5);
  await page.getByRole("button", { name: "Show PPO" }).click();
  await page.locator("#race").getByText("Methods and settings").click();
  const more = page.getByRole("checkbox", { name: /VarGrad/ });
  await more.click();
  await expect(page.getByText("At most 6 methods race at once")).toBeVisible();
  await expect(more).not.toBeChecked();
  await page.getByRole("checkbox", { name: /PPO/ }).click();
  await more.click();
  await page.waitForFunction(() => window.flowrl.engine.frame.get()?.lanes.some((lane) => lane.kind === "vargrad"));
  await expect(page).toHaveURL(/lanes=/);
});

test("the link follows the settings, and the settings follow the link", async ({ page }) => {
  await open(page, "#v=1&b=2.5&p=ring&seed=9&lanes=flowrl.vargrad&view=difference&m=entropy");
  const settings = () => page.evaluate(() => window.flowrl.settings.get());
  expect(await settings()).toMatchObject({ beta: 2.5, preset: "ring", seed: 9, lanes: ["flowrl", "vargrad"], view: "difference" });
  await page.getByRole("button", { name: "Right or wrong" }).click();
  await expect(page).toHaveURL(/p=plateau/);
  await page.goto("/#v=1&b=7&d=broken&lanes=nonsense");
  await page.waitForFunction(() => window.flowrl?.settings.get().beta === 7);
  expect((await settings()).lanes.length).toBe(6);
});
