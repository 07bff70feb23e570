/**
 * The process in which one suite runs, under either runtime: takes an order,
 * prints an answer.
 *
 * @module
 */
import process from "node:process";
import { hostPlatform } from "../ffi/mod.ts";
import { type Answer, Context, type Order } from "./suite.ts";
import { isSuiteName, loadSuite } from "./suites/mod.ts";

const order = JSON.parse(process.argv[2] ?? "{}") as Order;
if (!isSuiteName(order.suite)) throw new Error(`no suite ${order.suite}`);
const run = await loadSuite(order.suite);
const context = new Context(order);
const findings = await run(context);
const answer: Answer = {
  runtime: hostPlatform().runtime,
  findings,
  left_out: context.left_out,
};
console.log(JSON.stringify(answer));
