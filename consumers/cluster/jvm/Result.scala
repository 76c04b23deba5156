package edgewise.cluster

import java.nio.charset.StandardCharsets.UTF_8

/** Writes results; the twin of `edgewise.messages.encode_result`, byte for byte. */
final class ResultWriter(engine: String, model: String, tasks: Int, worker: String) {
  private val (engineBytes, modelBytes, workerBytes) = (engine.getBytes(UTF_8), model.getBytes(UTF_8), worker.getBytes(UTF_8))
  private var out = new Array[Byte](1024)
  private var at = 0

  def encode(
      frame: Frame,
      label: Int,
      score: Float,
      bridgedNs: java.lang.Long,
      appendedNs: java.lang.Long,
      receivedNs: Long,
      startedNs: Long,
      inferredNs: Long,
      sizeBytes: Int,
      batch: Int
  ): Array[Byte] = {
    at = 0
    room(ResultWriter.Header.length)
    System.arraycopy(ResultWriter.Header, 0, out, 0, ResultWriter.Header.length)
    at = ResultWriter.Header.length
    text(frame.run)
    text(frame.camera)
    long(frame.number)
    text(frame.dataset)
    text(frame.split)
    long(frame.image)
    long(ResultWriter.Cluster)
    text(engineBytes)
    text(modelBytes)
    long(label)
    float(score)
    long(frame.dueNs)
    long(frame.sentNs)
    perhaps(bridgedNs)
    perhaps(appendedNs)
    long(receivedNs)
    long(startedNs)
    long(inferredNs)
    long(sizeBytes)
    long(batch)
    long(tasks)
    text(workerBytes)
    java.util.Arrays.copyOf(out, at)
  }

  private def room(count: Int): Unit =
    if (at + count > out.length) out = java.util.Arrays.copyOf(out, math.max(2 * out.length, at + count))

  private def long(value: Long): Unit = {
    room(10)
    var rest = (value << 1) ^ (value >> 63)
    while ((rest & ~0x7fL) != 0) {
      out(at) = (rest | 0x80).toByte
      at += 1
      rest >>>= 7
    }
    out(at) = rest.toByte
    at += 1
  }

  private def text(bytes: Array[Byte]): Unit = {
    long(bytes.length)
    room(bytes.length)
    System.arraycopy(bytes, 0, out, at, bytes.length)
    at += bytes.length
  }

  private def float(value: Float): Unit = {
    room(4)
    val bits = java.lang.Float.floatToIntBits(value)
    for (byte <- 0 until 4) out(at + byte) = (bits >>> (8 * byte)).toByte
    at += 4
  }

  /** Null or a number, each behind its place in the union. */
  private def perhaps(value: java.lang.Long): Unit =
    if (value == null) long(0)
    else {
      long(1)
      long(value)
    }
}

object ResultWriter {
  val Header: Array[Byte] = Hex.bytes("c301a664c62025a2c9dd")

  /** Of the enum Tier. */
  val Cluster = 1L
}
