/** The version of cortex; the same as in `deno.json`, which a test keeps. */
export const CORTEX_VERSION = "0.1.0";
