import type { Command } from './command.js';
import { consumers } from './commands/consumers.js';
import { info } from './commands/info.js';
import { messageGet } from './commands/message.js';
import { producers } from './commands/producers.js';
import { publish } from './commands/publish.js';
import { read } from './commands/read.js';
import { redrive } from './commands/redrive.js';
import { serve } from './commands/serve.js';
import { subscribe } from './commands/subscribe.js';
import { subscriptionCommands } from './commands/subscription.js';
import { topicCommands } from './commands/topic.js';

/** Every command, in the order of the help text. */
export const commands: readonly Command[] = [
  serve,
  publish,
  subscribe,
  read,
  ...topicCommands,
  ...subscriptionCommands,
  producers,
  consumers,
  messageGet,
  redrive,
  info,
];
