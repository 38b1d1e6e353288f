/** The next rejection that nothing handles. Until then Mocha, which would fail the test, is not told of any. */
export async function nextUnhandled(action: () => void): Promise<unknown> {
  const others = process.listeners('unhandledRejection');
  process.removeAllListeners('unhandledRejection');
  try {
    return await new Promise<unknown>((resolve) => {
      process.once('unhandledRejection', resolve);
      action();
    });
  } finally {
    for (const listener of others) process.on('unhandledRejection', listener);
  }
}
