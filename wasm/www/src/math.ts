/**
 * The formulae of the page in LaTeX, by name. Terms that the page lights up are in `\class{term-…}{…}`. They are
 * read when the page is built, and no code of them is shipped.
 */
export const formulae: Record<string, string> = {
  target: String.raw`\pi(y) = \frac{\class{term-reference}{\pi_{\mathrm{ref}}(y)}\,\class{term-reward}{e^{\beta r(y)}}}{\class{term-z}{Z}}`,
  "update-draw": String.raw`y \sim \pi`,
  // In pieces, between which a narrow page breaks the line.
  "update-delta": String.raw`\delta = \class{term-z}{\log Z}`,
  "update-ratio": String.raw`{} + \class{term-policy}{\log\pi(y)} - \class{term-reference}{\log\pi_{\mathrm{ref}}(y)}`,
  "update-ratio-length": String.raw`{} + \frac{\class{term-policy}{\log\pi(y)} - \class{term-reference}{\log\pi_{\mathrm{ref}}(y)}}{|y|}`,
  "update-score": String.raw`{} - \class{term-score}{\beta\,r(y)}`,
  "update-score-group": String.raw`{} - \beta\,\frac{\class{term-reward}{r(y)} - \class{term-mean}{\bar r}}{\class{term-spread}{\sigma}}`,
  "update-group": String.raw`A = \frac{\class{term-reward}{r(y)} - \class{term-mean}{\bar r}}{\class{term-spread}{\sigma}}`,
  "update-mean": String.raw`A = \class{term-reward}{r(y)} - \class{term-mean}{\bar r}`,
  "update-value": String.raw`A = \class{term-reward}{r(y)} - \class{term-value}{V}`,
  "update-penalty": String.raw`{} - \class{term-penalty}{\frac{1}{\beta}\log\frac{\pi(y)}{\pi_{\mathrm{ref}}(y)}}`,
  "update-push-balance": String.raw`\ell = \delta^2, \quad \text{push} = -\frac{2\class{term-residual}{\delta}}{B}`,
  "update-push-length": String.raw`\ell = \delta^2, \quad \text{push} = -\frac{2\class{term-residual}{\delta}}{|y|\,B}`,
  "update-push-leash": String.raw`\text{push} = \frac{\class{term-ratio}{\rho}\,\class{term-advantage}{A} + \class{term-kl}{0.04\,k}}{|y|\,B}`,
  "update-push": String.raw`\text{push} = \frac{\class{term-advantage}{A}}{|y|\,B}`,
  "update-move": String.raw`\pi \leftarrow \mathrm{Adam}(\pi,\ \text{push})`,
  "gradient-expected": String.raw`\mathbb{E}_{y\sim\pi}\big[\nabla\,\delta^2(y)\big]`,
  "gradient-divergence": String.raw`{} = 2\,\nabla\,\mathrm{KL}(\pi \,\|\, \pi^*)`,
};
