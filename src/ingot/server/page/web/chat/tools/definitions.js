// Tools as they are defined on the page: a text in JSON, checked as the server checks it.

const NAME = /^[A-Za-z0-9_-]{1,64}$/;
const MAX_TOOLS = 128;
const MAX_CHARACTERS = 200_000;

export const EXAMPLE = JSON.stringify(
  [
    {
      name: "get_weather",
      description: "The weather in a city now.",
      parameters: {
        type: "object",
        properties: { city: { type: "string" } },
        required: ["city"],
      },
    },
  ],
  null,
  2,
);

const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);

// Returns the tools of a text in OpenAI's form: a list of functions, or of tools that hold one.
// Throws an Error that says which one is wrong, and how.
export function parseTools(text) {
  if (!text.trim()) return [];
  if (text.length > MAX_CHARACTERS) throw new Error("The tools are too long.");
  let value;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new Error(`The tools are not JSON: ${error.message}`);
  }
  const list = Array.isArray(value) ? value : [value];
  if (list.length > MAX_TOOLS) throw new Error(`There are more than ${MAX_TOOLS} tools.`);
  const tools = list.map((each, index) => toolOf(each, `Tool ${index + 1}`));
  const names = tools.map((tool) => tool.function.name);
  const twice = names.find((name, index) => names.indexOf(name) !== index);
  if (twice) throw new Error(`Two tools are called ${twice}.`);
  return tools;
}

function toolOf(value, which) {
  const given = isObject(value) && isObject(value.function) ? value.function : value;
  if (!isObject(given)) throw new Error(`${which} is not a JSON object.`);
  const { name, description, parameters, strict } = given;
  if (typeof name !== "string" || !NAME.test(name)) {
    throw new Error(`${which} needs a name of letters, digits, _ and -, at most 64.`);
  }
  if (description !== undefined && typeof description !== "string") {
    throw new Error(`${which} (${name}): its description is not a text.`);
  }
  if (parameters !== undefined && !isObject(parameters)) {
    throw new Error(`${which} (${name}): its parameters are not a JSON schema.`);
  }
  const named = { name };
  if (description !== undefined) named.description = description;
  if (parameters !== undefined) named.parameters = parameters;
  if (typeof strict === "boolean") named.strict = strict;
  return { type: "function", function: named };
}
