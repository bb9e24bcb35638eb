// The features of the chat, in the order of their sections in the drawer. Each is a module with
// `install(chat)`; chat.js says what it may use.

import * as baseModel from "./context/base_model.js";
import * as meter from "./context/meter.js";
import * as files from "./files/attachments.js";
import * as loading from "./loading/panel.js";
import * as modelCard from "./model_card.js";
import * as sideBySide from "./side_by_side.js";
import * as jsonAnswer from "./tools/json_answer.js";
import * as tools from "./tools/tools.js";

// Files come before the meter: it counts the message with them.
export const FEATURES = [
  files,
  tools,
  jsonAnswer,
  meter,
  baseModel,
  sideBySide,
  loading,
  modelCard,
];
