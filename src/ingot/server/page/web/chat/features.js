// The features of the chat, in the order of their sections in the drawer. Each is a module with
// `install(chat)`; chat.js says what it may use.

import * as modelCard from "./model_card.js";
import * as sideBySide from "./side_by_side.js";

export const FEATURES = [sideBySide, modelCard];
