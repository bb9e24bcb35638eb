// Vercel's AI SDK: its default provider (responses), chat, and the compatible provider.
import assert from "node:assert/strict";
import { createOpenAI } from "@ai-sdk/openai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { generateObject, generateText, stepCountIs, streamText, tool } from "ai";
import { z } from "zod";

const baseURL = `${process.argv[2]}/v1`;
const openai = createOpenAI({ baseURL, apiKey: "any" });
const compatible = createOpenAICompatible({
  name: "ingot",
  baseURL,
  apiKey: "any",
  supportsStructuredOutputs: true,
});

async function converse(model) {
  let calls = 0;
  const area = tool({
    description: "The area of the room.",
    inputSchema: z.object({ unit: z.enum(["m", "ft"]) }),
    execute: async () => {
      calls += 1;
      return "12";
    },
  });
  // The first step must call; the second answers with the call's result in its history.
  const asked = {
    model,
    tools: { area },
    maxRetries: 0,
    maxOutputTokens: 400,
    // One call, so that the answer ends although the weights are random.
    providerOptions: {
      openai: { parallelToolCalls: false },
      ingot: { parallel_tool_calls: false },
    },
    stopWhen: stepCountIs(2),
    prepareStep: ({ stepNumber }) => ({ toolChoice: stepNumber === 0 ? "required" : "none" }),
  };
  const messages = [{ role: "user", content: "How large is the room?" }];
  const first = await generateText({ ...asked, messages });
  assert.ok(calls >= 1);
  assert.equal(first.steps.length, 2);
  messages.push(...first.response.messages, { role: "user", content: "And in feet?" });
  const before = calls;
  const second = streamText({ ...asked, messages, onError: ({ error }) => assert.fail(error) });
  await second.consumeStream();
  assert.ok(calls > before);
  assert.equal((await second.steps).length, 2);
  const schema = z.object({ size: z.enum(["small", "large"]) });
  const made = await generateObject({ model, schema, prompt: "How large?", maxRetries: 0 });
  assert.ok(["small", "large"].includes(made.object.size));
}

await converse(openai("tiny"));
await converse(openai.chat("tiny"));
await converse(compatible("tiny"));
