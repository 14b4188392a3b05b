export default {
  // If Vite prebundled the package for development, it would look for its module in the wrong place.
  optimizeDeps: { exclude: ["@flowrl/lab"] },
};
