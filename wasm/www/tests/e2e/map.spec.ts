import { violations } from "../support/axe.ts";
import { expect, test } from "../support/page.ts";

test("the map is made when it comes into view, and a cell loads its run", async ({ page }) => {
  const workers: string[] = [];
  page.on("worker", (worker) => workers.push(worker.url()));
  await page.goto("/");
  const started = workers.length;
  const map = page.locator("#map");
  await map.scrollIntoViewIfNeeded();
  await expect(map.locator("canvas").nth(1)).toBeVisible();
  await map.locator("canvas").nth(1).scrollIntoViewIfNeeded();
  await expect.poll(() => workers.length).toBeGreaterThan(started);
  await map.getByLabel("Steps of each run").selectOption("200");
  await expect(map.getByText("210 runs of 200 steps")).toBeVisible({ timeout: 50_000 });
  await expect(map.getByText(/Within KL 0.1 of the target, of 70 runs each: FlowRL in \d+/)).toBeVisible();
  expect(await violations(page)).toEqual([]);

  const flowrl = map.getByLabel(/^FlowRL: final distance/);
  await flowrl.focus();
  await page.keyboard.press("ArrowLeft");
  await expect(map.locator(".map-cell")).toContainText("β 3.8, learning rate 0.02");
  await page.keyboard.press("ArrowUp");
  await page.keyboard.press("Enter");
  await expect.poll(() => new URL(page.url()).hash).toContain("b=3.8");
  const hash = new URLSearchParams(new URL(page.url()).hash.slice(1));
  expect(hash.get("lr")).toBe("0.05");
  expect(hash.get("lanes")).toBe("flowrl.reward-kl.grpo");
});
