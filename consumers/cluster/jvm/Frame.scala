package edgewise.cluster

import java.nio.ByteBuffer
import java.nio.charset.{CharacterCodingException, CodingErrorAction}
import java.nio.charset.StandardCharsets.UTF_8
import java.util.zip.CRC32C

/** These bytes are not a frame and never will be; rule and text as in `edgewise.errors.FrameError`.
  *
  * Damaged frames come in floods, so it carries no stack.
  */
final class FrameError(val rule: String, found: String) extends Exception(s"$rule: $found", null, false, false)

/** The names of the rules, as in `edgewise.messages.Rule`. */
object Rule {
  val Empty = "empty"
  val TooLarge = "too-large"
  val Magic = "magic"
  val Schema = "schema"
  val Check = "check-sum"
  val Fields = "fields"
  val Camera = "camera-name"
  val Dimensions = "dimensions"
  val Payload = "payload"
}

/** How the image stands in the payload; the numbers are the schema's. */
object Codec {
  val Raw = 0
  val Png = 1
  val Jpeg = 2
  val Text = 3
  val Names: Array[String] = Array("raw", "png", "jpeg", "text")
}

/** A frame that keeps all rules but those of its image. Texts stay the bytes they were: a result repeats them. */
final class Frame(
    val run: Array[Byte],
    val camera: Array[Byte],
    val number: Long,
    val dataset: Array[Byte],
    val split: Array[Byte],
    val image: Long,
    val width: Long,
    val height: Long,
    val codec: Int,
    val dueNs: Long,
    val sentNs: Long,
    val payload: Array[Byte]
)

/** Reads frames; the twin of `edgewise.messages.decode_frame`, rule for rule and in the same order. */
object Frame {
  val MaxBytes = 1000000
  val CheckBytes = 4
  val Marker: Array[Byte] = Array(0xc3.toByte, 0x01)
  val Header: Array[Byte] = Hex.bytes("c301b56b09f20dd8cfcc")

  /** @throws FrameError for any bytes that are no frame. */
  def decode(wire: Array[Byte]): Frame = {
    if (wire.isEmpty) throw new FrameError(Rule.Empty, "0 bytes")
    if (wire.length > MaxBytes) throw new FrameError(Rule.TooLarge, s"${wire.length} bytes, $MaxBytes allowed")
    refuseHeader(wire)
    refuseCheck(wire)
    val frame = fields(new Fields(wire, Header.length))
    if (!isCamera(frame.camera)) {
      throw new FrameError(Rule.Camera, s"${quoted(new String(frame.camera, UTF_8))} is not [a-z0-9-]{1,64}")
    }
    if (frame.width < 1 || frame.height < 1) {
      throw new FrameError(Rule.Dimensions, s"${frame.width} x ${frame.height} pixels")
    }
    if (frame.number < 0 || frame.image < 0) {
      throw new FrameError(Rule.Fields, s"number ${frame.number}, image ${frame.image}: both count from 0")
    }
    frame
  }

  /** Words of strangers for a message: short, and nothing in them that is not printable. */
  def quoted(text: String): String = {
    val shown = text.substring(0, text.offsetByCodePoints(0, math.min(80, text.codePointCount(0, text.length))))
    shown.map(c => if (c < ' ' || c == 127) f"\\x${c.toInt}%02x" else c.toString).mkString("'", "", "'")
  }

  private def refuseHeader(wire: Array[Byte]): Unit = {
    val found = wire.take(Header.length)
    if (!found.startsWith(Marker)) {
      throw new FrameError(Rule.Magic, s"starts with ${Hex.of(found.take(Marker.length))} instead of ${Hex.of(Marker)}")
    }
    if (!java.util.Arrays.equals(found, Header)) {
      val (other, known) = (Hex.of(found.drop(Marker.length)), Hex.of(Header.drop(Marker.length)))
      throw new FrameError(Rule.Schema, s"fingerprint $other, known is $known")
    }
  }

  private def refuseCheck(wire: Array[Byte]): Unit = {
    val checked = wire.length - CheckBytes
    val sum = new CRC32C
    sum.update(wire, 0, checked)
    val (stated, found) = (ByteBuffer.wrap(wire).getInt(checked), sum.getValue.toInt)
    if (stated != found) {
      throw new FrameError(Rule.Check, f"$stated%08x at the end, $found%08x by the bytes: changed or cut off")
    }
  }

  private def fields(in: Fields): Frame = {
    val frame = new Frame(
      run = in.text(),
      camera = in.text(),
      number = in.long(),
      dataset = in.text(),
      split = in.text(),
      image = in.long(),
      width = in.long(),
      height = in.long(),
      codec = in.symbol(Codec.Names.length),
      dueNs = in.long(),
      sentNs = in.long(),
      payload = in.bytes()
    )
    in.skip(CheckBytes)
    if (in.left > 0) throw new FrameError(Rule.Fields, s"${in.left} bytes after the last one")
    frame
  }

  private def isCamera(name: Array[Byte]): Boolean =
    name.length >= 1 && name.length <= 64 &&
      name.forall(b => (b >= 'a' && b <= 'z') || (b >= '0' && b <= '9') || b == '-')
}

/** Avro's fields one after another. Whatever stands there, it reads no byte outside and takes no more memory. */
private final class Fields(wire: Array[Byte], start: Int) {
  private var at = start

  def left: Int = wire.length - at

  /** Bits beyond the 64th fall where fastavro's fall. */
  def long(): Long = {
    var (value, shift, more) = (0L, 0, true)
    while (more) {
      if (at == wire.length) throw new FrameError(Rule.Fields, "the bytes end inside a number")
      val byte = wire(at)
      at += 1
      value |= (byte & 0x7fL) << shift
      shift += 7
      more = byte < 0
    }
    (value >>> 1) ^ -(value & 1)
  }

  def bytes(): Array[Byte] = {
    val length = long()
    if (length < 0 || length > left) throw new FrameError(Rule.Fields, s"$length bytes stated, $left left")
    val from = at
    at += length.toInt
    java.util.Arrays.copyOfRange(wire, from, at)
  }

  def text(): Array[Byte] = {
    val found = bytes()
    val strict = UTF_8.newDecoder.onMalformedInput(CodingErrorAction.REPORT).onUnmappableCharacter(CodingErrorAction.REPORT)
    try strict.decode(ByteBuffer.wrap(found))
    catch { case _: CharacterCodingException => throw new FrameError(Rule.Fields, "a text is not UTF-8") }
    found
  }

  /** Below zero it counts from the last one, as it does for fastavro: the two tiers must agree on every byte. */
  def symbol(symbols: Int): Int = {
    val index = long()
    if (index < -symbols || index >= symbols) throw new FrameError(Rule.Fields, s"$index is none of $symbols symbols")
    Math.floorMod(index, symbols.toLong).toInt
  }

  def skip(count: Int): Unit = {
    if (left < count) throw new FrameError(Rule.Fields, s"$count bytes expected, $left left")
    at += count
  }
}

/** Bytes as people read them. */
object Hex {
  def of(bytes: Array[Byte]): String = bytes.map(b => f"${b & 0xff}%02x").mkString
  def bytes(text: String): Array[Byte] = text.grouped(2).map(Integer.parseInt(_, 16).toByte).toArray
}
