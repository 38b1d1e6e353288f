import assert from 'node:assert/strict';
import { SluiceError } from '../../../src/base/errors.js';
import { describeFailure, ExitCode } from '../../../src/cli/exit.js';

describe('exit code of a failed start', () => {
  it('is 65 for a damaged data directory, and 1 for a disk that fails to read', () => {
    const exitCodeOf = (reason: ConstructorParameters<typeof SluiceError>[0]) =>
      describeFailure(new SluiceError(reason, 'why'), 'serve').exitCode;
    assert.equal(exitCodeOf('DATA_LOSS'), ExitCode.damaged);
    assert.equal(exitCodeOf('SYNCED_DATA_MISSING'), ExitCode.damaged);
    assert.equal(exitCodeOf('READ_FAILED'), ExitCode.failed);
  });
});
