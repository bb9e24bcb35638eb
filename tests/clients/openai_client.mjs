// OpenAI's client for Node: chat and responses, tools, streams, second turns.
import assert from "node:assert/strict";
import OpenAI from "openai";

const client = new OpenAI({ baseURL: `${process.argv[2]}/v1`, apiKey: "any", maxRetries: 0 });
const user = { role: "user", content: "How large is the room?" };
const parameters = {
  type: "object",
  properties: { unit: { type: "string", enum: ["m", "ft"] } },
  required: ["unit"],
  additionalProperties: false,
};
const described = { name: "area", description: "The area of the room.", parameters };
const calling = { tool_choice: "required", parallel_tool_calls: false };

async function chat(streamed) {
  const tools = [{ type: "function", function: { ...described, strict: true } }];
  const asked = { model: "tiny", messages: [user], tools, ...calling };
  const first = streamed
    ? await client.chat.completions.stream(asked).finalChatCompletion()
    : await client.chat.completions.create(asked);
  const message = first.choices[0].message;
  assert.equal(message.tool_calls.length, 1);
  const result = { role: "tool", tool_call_id: message.tool_calls[0].id, content: "12" };
  const messages = [user, message, result];
  const second = await client.chat.completions.create({
    model: "tiny",
    messages,
    tools,
    tool_choice: "none",
    max_tokens: 8,
  });
  messages.push(second.choices[0].message, user);
  const third = await client.chat.completions.create({ model: "tiny", messages, max_tokens: 8 });
  assert.ok(third.usage.prompt_tokens > second.usage.prompt_tokens - 400);
}

async function responses(stored) {
  const tools = [{ type: "function", ...described, strict: true }];
  const stream = client.responses.stream({
    model: "tiny",
    input: [user],
    tools,
    ...calling,
    store: stored,
  });
  const first = await stream.finalResponse();
  assert.equal(first.output.length, 1);
  const result = {
    type: "function_call_output",
    call_id: first.output[0].call_id,
    output: "12",
  };
  const said = stored ? [result] : [user, ...first.output, result];
  const earlier = stored ? { previous_response_id: first.id } : {};
  const second = await client.responses.create({
    model: "tiny",
    input: said,
    tools,
    tool_choice: "none",
    max_output_tokens: 8,
    ...earlier,
  });
  const third = await client.responses.create({
    model: "tiny",
    input: [...(stored ? [] : [...said, ...second.output]), user],
    max_output_tokens: 8,
    ...(stored ? { previous_response_id: second.id } : {}),
  });
  assert.ok(third.usage.input_tokens > 0);
}

await chat(false);
await chat(true);
await responses(false);
await responses(true);
