import { createRequire } from "node:module";
import { readFileSync } from "node:fs";
import type { Page } from "@playwright/test";
import type { AxeResults } from "axe-core";

const source = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const tags = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"];

/**
 * What axe finds against WCAG 2.2 AA in the page as it is now, or in a part of it, which takes less time: for each
 * rule, the elements that break it.
 */
export async function violations(page: Page, part = "html"): Promise<string[]> {
  // Evaluated rather than added as a script, which the policy of the page forbids.
  if (!(await page.evaluate(() => "axe" in globalThis))) await page.evaluate(source);
  const results = await page.evaluate(
    ([part, values]) =>
      (globalThis as unknown as { axe: { run(part: string, options: object): Promise<AxeResults> } }).axe.run(part, {
        runOnly: values,
        resultTypes: ["violations"],
      }),
    [part, tags] as const,
  );
  return results.violations.map(
    (rule) => `${rule.id}: ${rule.nodes.map((node) => node.target.join(" ")).join("; ")}`,
  );
}
