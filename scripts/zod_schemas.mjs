// JSON schemas as zod's users have them, for tests/inference/request/json_schema/zod_schemas.json:
//
//     npm install --no-save zod@4 zod-to-json-schema@3
//     node scripts/zod_schemas.mjs > tests/inference/request/json_schema/zod_schemas.json
//
// Each shape is written by zod 4 for its output and its input, and by zod-to-json-schema for zod 3
// with the options of the AI SDK and of MCP's TypeScript SDK.
import { z as z4 } from "zod";
import { z as z3 } from "zod/v3";
import { zodToJsonSchema } from "zod-to-json-schema";

const address = (z) => z.object({ street: z.string(), zip: z.string().regex(/^\d{5}(-\d{4})?$/) });

/** Shapes that both versions can write. */
const both = {
  string: (z) => z.string(),
  described: (z) => z.string().describe("What to look for"),
  lengths: (z) => z.string().min(1).max(64),
  exact_length: (z) => z.string().length(8),
  regex: (z) => z.string().regex(/^[a-z][a-z0-9_]{0,31}$/),
  regex_slash: (z) => z.string().regex(/^\/[\w/.-]+$/),
  regex_flags: (z) => z.string().regex(/^v\d+\.\d+\.\d+$/i),
  starts_with: (z) => z.string().startsWith("https://"),
  ends_with: (z) => z.string().endsWith(".md"),
  includes: (z) => z.string().includes("@"),
  password: (z) => z.string().regex(/^(?=.*[A-Z])(?=.*\d).{8,}$/),
  email: (z) => z.string().email(),
  url: (z) => z.string().url(),
  uuid: (z) => z.string().uuid(),
  cuid: (z) => z.string().cuid(),
  cuid2: (z) => z.string().cuid2(),
  ulid: (z) => z.string().ulid(),
  nanoid: (z) => z.string().nanoid(),
  datetime: (z) => z.string().datetime(),
  datetime_offset: (z) => z.string().datetime({ offset: true }),
  date: (z) => z.string().date(),
  time: (z) => z.string().time(),
  duration: (z) => z.string().duration(),
  base64: (z) => z.string().base64(),
  emoji: (z) => z.string().emoji(),
  number: (z) => z.number(),
  int: (z) => z.number().int(),
  positive: (z) => z.number().positive(),
  nonnegative_int: (z) => z.number().int().nonnegative(),
  range: (z) => z.number().min(-1.5).max(2.25),
  int_range: (z) => z.number().int().min(1).max(100),
  step: (z) => z.number().multipleOf(5),
  cents: (z) => z.number().nonnegative().multipleOf(0.01),
  safe: (z) => z.number().int().max(Number.MAX_SAFE_INTEGER),
  boolean: (z) => z.boolean(),
  null: (z) => z.null(),
  any: (z) => z.any(),
  unknown: (z) => z.unknown(),
  never: (z) => z.object({ gone: z.never().optional(), kept: z.string() }),
  literal: (z) => z.literal("on"),
  literal_number: (z) => z.literal(42),
  literal_big: (z) => z.literal(9007199254740992),
  enum: (z) => z.enum(["red", "green", "blue"]),
  native_enum: (z) => z.nativeEnum({ Up: "UP", Down: "DOWN" }),
  native_numbers: (z) => z.nativeEnum({ a: 1, b: 2 }),
  nullable: (z) => z.string().nullable(),
  nullable_object: (z) => z.object({ a: z.number() }).nullable(),
  object: (z) => z.object({ name: z.string(), age: z.number().int() }),
  optional: (z) => z.object({ name: z.string(), nick: z.string().optional() }),
  all_optional: (z) => z.object({ a: z.string(), b: z.number(), c: z.boolean() }).partial(),
  defaults: (z) => z.object({ limit: z.number().int().default(10), sort: z.enum(["asc", "desc"]).default("asc") }),
  nested: (z) => z.object({ user: z.object({ address: address(z) }) }),
  reused: (z) => { const a = address(z); return z.object({ home: a, work: a.optional() }); },
  strict: (z) => z.object({ a: z.string() }).strict(),
  passthrough: (z) => z.object({ a: z.string() }).passthrough(),
  catchall: (z) => z.object({ a: z.string() }).catchall(z.number()),
  empty: (z) => z.object({}),
  extended: (z) => z.object({ a: z.string() }).extend({ b: z.number() }),
  merged: (z) => address(z).merge(z.object({ city: z.string() })),
  intersection: (z) => z.intersection(z.object({ a: z.string() }), z.object({ b: z.number() })),
  array: (z) => z.array(z.string()),
  array_bounds: (z) => z.array(z.number().int()).min(1).max(5),
  array_length: (z) => z.array(z.boolean()).length(3),
  nonempty: (z) => z.array(z.string()).nonempty(),
  objects: (z) => z.array(z.object({ id: z.number().int(), tags: z.array(z.string()) })),
  matrix: (z) => z.array(z.array(z.number())),
  tuple: (z) => z.tuple([z.string(), z.number()]),
  tuple_rest: (z) => z.tuple([z.string()]).rest(z.number()),
  union: (z) => z.union([z.string(), z.number()]),
  union_objects: (z) => z.union([z.object({ a: z.string() }), z.object({ b: z.number() })]),
  literals: (z) => z.union([z.literal("a"), z.literal(1), z.literal(true), z.null()]),
  discriminated: (z) => z.discriminatedUnion("type", [
    z.object({ type: z.literal("circle"), radius: z.number().positive() }),
    z.object({ type: z.literal("square"), side: z.number().positive() }),
  ]),
  actions: (z) => z.object({ actions: z.array(z.discriminatedUnion("action", [
    z.object({ action: z.literal("click"), x: z.number().int(), y: z.number().int() }),
    z.object({ action: z.literal("type"), text: z.string() }),
    z.object({ action: z.literal("wait"), ms: z.number().int().min(0).max(60000).optional() }),
  ])) }),
  record: (z) => z.record(z.string(), z.number()),
  record_objects: (z) => z.record(z.string(), z.object({ n: z.number() })),
  record_enum: (z) => z.record(z.enum(["a", "b"]), z.string()),
  record_pattern: (z) => z.record(z.string().regex(/^[a-z]+$/), z.number().int()),
  record_length: (z) => z.record(z.string().max(8), z.boolean()),
  record_email: (z) => z.record(z.string().uuid(), z.boolean()),
  readonly: (z) => z.object({ a: z.array(z.string()).readonly() }),
  branded: (z) => z.object({ id: z.string().brand("Id") }),
  catch: (z) => z.object({ a: z.string().catch("x") }),
  preprocess: (z) => z.object({ a: z.string().min(2).refine((v) => v !== "no") }),
  tree: (z) => { const node = z.object({ value: z.string(), children: z.lazy(() => z.array(node)) }); return node; },
  list: (z) => { const item = z.object({ head: z.number(), tail: z.lazy(() => item.nullable()) }); return z.object({ list: item }); },
  json: (z) => { const json = z.lazy(() => z.union([z.string(), z.number(), z.boolean(), z.null(), z.array(json)])); return z.object({ data: json }); },
  search_tool: (z) => z.object({
    query: z.string().describe("Search query"), max_results: z.number().int().min(1).max(50).default(10),
    include_domains: z.array(z.string()).optional(), topic: z.enum(["general", "news"]).default("general"),
  }),
  file_tool: (z) => z.object({ path: z.string(), head: z.number().optional(), tail: z.number().optional() }),
  edit_tool: (z) => z.object({
    path: z.string(), dryRun: z.boolean().default(false),
    edits: z.array(z.object({ oldText: z.string(), newText: z.string() })),
  }),
  issue_tool: (z) => z.object({
    owner: z.string(), repo: z.string(), title: z.string(), body: z.string().optional(),
    labels: z.array(z.string()).optional(), milestone: z.number().optional(),
  }),
  memory_tool: (z) => z.object({ entities: z.array(z.object({
    name: z.string(), entityType: z.string(), observations: z.array(z.string()),
  })) }),
  thinking_tool: (z) => z.object({
    thought: z.string(), nextThoughtNeeded: z.boolean(), thoughtNumber: z.number().int().min(1),
    totalThoughts: z.number().int().min(1), isRevision: z.boolean().optional(),
  }),
  event: (z) => z.object({
    id: z.string().uuid(), at: z.string().datetime(), attendees: z.array(z.string().email()).max(3),
    place: z.union([z.object({ room: z.string() }), z.object({ url: z.string().url() })]).nullable(),
  }),
  invoice: (z) => z.object({
    number: z.string().regex(/^INV-\d{6}$/), lines: z.array(z.object({
      sku: z.string(), quantity: z.number().int().positive(), price: z.number().nonnegative(),
    })).min(1), currency: z.enum(["EUR", "USD"]), paid: z.boolean(),
  }),
  many_optional: (z) => z.object(Object.fromEntries(
    Array.from({ length: 120 }, (_, n) => [`field_${n}`, z.string().optional()]))),
};

/** Shapes of zod 4 alone. */
const four = {
  int32: (z) => z.int32(),
  uint32: (z) => z.uint32(),
  float32: (z) => z.float32(),
  float64: (z) => z.float64(),
  ranges: (z) => z.object({ a: z.int(), b: z.float32(), c: z.float64(), d: z.uint32() }),
  email4: (z) => z.email(),
  html5_email: (z) => z.email({ pattern: z.regexes.html5Email }),
  uuid4: (z) => z.uuidv4(),
  url4: (z) => z.url({ protocol: /^https$/ }),
  hostname: (z) => z.hostname(),
  ipv4: (z) => z.ipv4(),
  ipv6: (z) => z.ipv6(),
  cidrv4: (z) => z.cidrv4(),
  base64url: (z) => z.base64url(),
  e164: (z) => z.e164(),
  jwt: (z) => z.jwt(),
  iso_date: (z) => z.iso.date(),
  iso_datetime: (z) => z.iso.datetime({ local: true }),
  iso_time: (z) => z.iso.time({ precision: 0 }),
  iso_duration: (z) => z.iso.duration(),
  string_bool: (z) => z.stringbool(),
  template: (z) => z.templateLiteral(["id-", z.number().int()]),
  partial_record: (z) => z.partialRecord(z.enum(["a", "b"]), z.number()),
  loose_record: (z) => z.record(z.union([z.literal("a"), z.literal("b")]), z.number()),
  json4: (z) => z.object({ data: z.json() }),
  file_like: (z) => z.strictObject({ name: z.string(), size: z.int().nonnegative() }),
  getter: (z) => { const c = z.object({ name: z.string(), get sub() { return z.array(c).optional(); } }); return c; },
  meta: (z) => z.object({ a: z.string().meta({ title: "A", examples: ["x"], deprecated: true, unit: "m" }) }),
  xor: (z) => (z.xor ? z.xor([z.string(), z.number()]) : z.string()),
  codec_input: (z) => z.object({ when: z.iso.datetime().transform((v) => v) }),
};

const schemas = new Map(); // by text: equal schemas are kept once
function add(name, make) {
  try {
    const text = JSON.stringify(make());
    if (!schemas.has(text)) schemas.set(text, name);
  } catch {
    // The generator itself cannot write this shape.
  }
}
for (const [name, shape] of Object.entries({ ...both, ...four })) {
  add(`zod4 ${name}`, () => z4.toJSONSchema(shape(z4)));
  add(`zod4 input ${name}`, () => z4.toJSONSchema(shape(z4), { io: "input", target: "draft-7" }));
}
for (const [name, shape] of Object.entries(both)) {
  add(`zod3 ${name}`, () => zodToJsonSchema(shape(z3), { $refStrategy: "none", target: "jsonSchema7" }));
  add(`mcp ${name}`, () => zodToJsonSchema(shape(z3), { strictUnions: true }));
  add(`named ${name}`, () => zodToJsonSchema(shape(z3), "Answer"));
}
const lines = [...schemas].map(([text, name]) => `${JSON.stringify(name)}: ${text}`);
console.log(`{\n${lines.join(",\n")}\n}`);
