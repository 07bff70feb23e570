import type { Fact } from "../../doctor/mod.ts";
import { type CommandFactory, subcommand, withJson } from "../command.ts";
import { type JsonOption, print } from "../context.ts";
import { Exit, EXIT_FAILED } from "../exit.ts";
import { safe } from "../format.ts";

interface Options extends JsonOption {
  /** Segment of the self-test that this process is the second of. */
  readonly assist?: string;
}

export const doctorCommand: CommandFactory = (context) =>
  withJson(subcommand(
    "doctor",
    "say what of this host needs attention, and what to do",
    "doctor",
    "cortex",
  ))
    .option("--assist <segment>", "", { hidden: true })
    .action(async (options: Options) => {
      const { assist, examine } = await import("../../doctor/mod.ts");
      const platform = context.platform();
      if (options.assist !== undefined) {
        return assist(platform, options.assist);
      }
      const facts = examine(
        platform,
        (segment) =>
          context.terminal.startSelf(["doctor", "--assist", segment]),
      );
      const ok = facts.every((fact) => fact.ok);
      print(context, options, { ok, facts }, describe(facts));
      if (!ok) throw new Exit(EXIT_FAILED);
    });

function describe(facts: readonly Fact[]): string {
  const width = Math.max(...facts.map(({ topic }) => topic.length));
  const lines = facts.flatMap(({ topic, ok, text, remedy }) => {
    const state = ok ? "ok         " : "attention  ";
    const line = `${state}${topic.padEnd(width)}  ${safe(text)}`;
    const indent = " ".repeat(state.length + width + 2);
    return remedy === null ? [line] : [line, `${indent}-> ${safe(remedy)}`];
  });
  const bad = facts.filter(({ ok }) => !ok).length;
  lines.push(
    bad === 0
      ? "All is well"
      : bad === 1
      ? "1 thing needs attention"
      : `${bad} things need attention`,
  );
  return lines.join("\n");
}
