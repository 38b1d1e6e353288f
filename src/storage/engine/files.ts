import { mkdir, open, readdir, readFile, rename, rm, statfs } from 'node:fs/promises';
import { dirname } from 'node:path';

/** Replaces the file atomically, also in a loss of power. */
export async function replaceFile(path: string, content: string | Uint8Array): Promise<void> {
  const temporaryPath = `${path}.new`;
  await syncing(temporaryPath, 'w', (file) => file.writeFile(content));
  await rename(temporaryPath, path);
  await syncing(dirname(path), 'r');
}

async function syncing(
  path: string,
  flags: string,
  write?: (file: Awaited<ReturnType<typeof open>>) => Promise<void>,
): Promise<void> {
  const file = await open(path, flags);
  try {
    await write?.(file);
    await file.sync();
  } finally {
    await file.close();
  }
}

/**
 * Creates a directory and its parents. Node's own `recursive` never returns if creating a directory inside an
 * existing one fails with ENOENT, as in /proc.
 */
export async function makeDirectory(path: string): Promise<void> {
  const parent = dirname(path);
  try {
    await mkdir(path);
  } catch (error) {
    if (hasCode(error, 'EEXIST')) return;
    if (!hasCode(error, 'ENOENT') || parent === path) throw error;
    await makeDirectory(parent);
    await mkdir(path);
  }
}

/** Overwrites an existing file that is at most as long, and syncs it. */
export async function overwriteFile(path: string, content: Uint8Array): Promise<void> {
  await syncing(path, 'r+', async (file) => {
    await file.write(content, 0, content.length, 0);
  });
}

/** Syncs the contents of a file. */
export async function syncFile(path: string): Promise<void> {
  await syncing(path, 'r+');
}

/** Removes the file, if it exists. */
export async function removeFile(path: string): Promise<void> {
  await rm(path, { force: true });
}

/** The contents; undefined if the file does not exist. */
export async function readFileIfAny(path: string): Promise<Buffer | undefined> {
  return await ifAny(readFile(path));
}

/** At most `length` bytes of the file from `from` on. */
export async function readFilePart(path: string, from: number, length: number): Promise<Buffer> {
  const file = await open(path, 'r');
  try {
    const bytes = Buffer.alloc(length);
    const { bytesRead } = await file.read(bytes, 0, length, from);
    return bytes.subarray(0, bytesRead);
  } finally {
    await file.close();
  }
}

export async function readDirectoryIfAny(path: string): Promise<string[] | undefined> {
  return await ifAny(readdir(path));
}

async function ifAny<T>(read: Promise<T>): Promise<T | undefined> {
  try {
    return await read;
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return undefined;
    throw error;
  }
}

function hasCode(error: unknown, code: string): boolean {
  return error instanceof Error && 'code' in error && error.code === code;
}

/** The bytes that an unprivileged process may still write to the disk of this directory. */
export async function freeDiskBytes(directory: string): Promise<number> {
  const { bavail, bsize } = await statfs(directory);
  return bavail * bsize;
}
