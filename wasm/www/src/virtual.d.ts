/** MathML of a formula of math.ts, on a line of its own. */
declare module "virtual:math/*" {
  const markup: string;
  export default markup;
}
