export default {
  // Prebundled for development, the package would look for its module in the wrong place.
  optimizeDeps: { exclude: ["@flowrl/core"] },
};
