/** A stretch of a larger buffer that its maker has found to be valid UTF-8 (it is not looked at again), for a row's text: the same object may be moved on from row to row. */
export class TextSpan {
  bytes: Buffer;
  from = 0;
  to = 0;

  constructor(bytes: Buffer) {
    this.bytes = bytes;
  }
}
