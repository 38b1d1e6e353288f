import { basename, relative } from 'node:path';

/** Suggests the next steps to a user who has started a broker at a terminal. */
export function welcome(address: string, dataDirectory: string, version: string): string {
  const sluice = programName(process.argv[1]);
  const server = address === '127.0.0.1:7070' ? '' : ` --server ${address}`;
  return `
  sluice ${version} serves ${address} and keeps its data in ${dataDirectory}

  publish a message      echo hello | ${sluice} publish greetings${server}
  receive it             ${sluice} subscribe greetings me${server}
  look inside            ${sluice} topic list${server}
  look at the API        grpcurl -plaintext ${address} list
  every setting          ${sluice} serve --help

  Ctrl-C ends it in order.

`;
}

/** How the user starts this program. */
function programName(script: string | undefined): string {
  if (script === undefined || basename(script) === 'sluice') return 'sluice';
  return `node ${relative(process.cwd(), script)}`;
}
