import { violations } from "../support/axe.ts";
import { open } from "../support/lab.ts";
import { expect, test } from "../support/page.ts";

test("the map fills itself, is the same every time, and loads a run into the race", async ({ page }) => {
  test.slow();
  await open(page);
  await page.evaluate(() => window.flowrl.engine.pause());
  const section = page.locator("#map");
  await section.scrollIntoViewIfNeeded();
  await section.getByLabel("Steps of each run").selectOption("200");
  await expect(section).toContainText("210 runs of 200 steps, made in your browser", { timeout: 100_000 });
  const verdict = await section.getByText(/^Within KL 0\.1 of the target/).textContent();
  const near = Object.fromEntries([...verdict!.matchAll(/(FlowRL|Reward \+ KL ⁄ β|GRPO) in (\d+)/g)].map((m) => [m[1], Number(m[2])]));
  expect(near["FlowRL"]).toBeGreaterThan(2 * near["GRPO"]!);
  const map = section.locator('canvas[role="application"]').first();
  await map.focus();
  await page.keyboard.press("ArrowRight");
  await expect(section.locator(".map-cell")).toContainText(/Cellβ 10, learning rate 0\.02/);
  await expect(section.locator(".map-cell")).toContainText(/FlowRLKL [\d.]+, \d of 4 peaks/);
  await page.keyboard.press("Enter");
  await page.waitForFunction(() => window.flowrl.settings.get().beta === 10);
  expect(await page.evaluate(() => window.flowrl.settings.get().lanes)).toEqual(["flowrl", "grpo", "reward-kl"]);
});

for (const width of [1280, 320]) {
  test(`axe finds nothing in the map, ${width} px`, async ({ page }) => {
    await page.setViewportSize({ width, height: 2600 });
    await open(page);
    await page.evaluate(() => window.flowrl.engine.pause());
    await page.locator("#map").evaluate((element) => element.scrollIntoView({ behavior: "instant" }));
    await expect(page.locator("#map")).toContainText(/[1-9]\d* of 210 runs/, { timeout: 30_000 });
    expect(await violations(page)).toEqual([]);
    expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(width);
  });
}
