package edgewise.cluster

import java.io.{ByteArrayInputStream, ByteArrayOutputStream}
import java.nio.charset.StandardCharsets.ISO_8859_1
import java.util.zip.{CRC32, DataFormatException, Inflater}
import javax.imageio.spi.{IIORegistry, ImageReaderSpi}
import javax.imageio.stream.MemoryCacheImageInputStream
import scala.util.control.NonFatal

/** Payloads to images of height x width x 3 bytes, RGB; the twin of `edgewise.codecs.decode`. */
object Pictures {
  /** @throws FrameError when the payload is no such image, or not of the stated size. */
  def decode(frame: Frame): Array[Byte] = {
    val wanted = frame.width * frame.height * 3
    frame.codec match {
      case Codec.Raw  => sized(frame, frame.payload, wanted)
      case Codec.Text => sized(frame, Numbers.read(frame.payload), wanted)
      case Codec.Png  => pictured(frame)(Png.decode(frame))
      case Codec.Jpeg => pictured(frame)(Jpeg.decode(frame))
    }
  }

  private def sized(frame: Frame, values: Array[Byte], wanted: Long): Array[Byte] = {
    if (values.length != wanted) {
      val stated = s"$wanted in ${frame.width} x ${frame.height} x 3"
      throw new FrameError(Rule.Dimensions, s"${values.length} values in the payload, $stated")
    }
    values
  }

  /** Whatever a picture's bytes make a decoder throw, the payload is what is wrong. */
  private def pictured(frame: Frame)(decode: => Array[Byte]): Array[Byte] =
    try decode
    catch {
      case error: FrameError => throw error
      case NonFatal(error) =>
        val said = Option(error.getMessage).getOrElse(error.getClass.getSimpleName)
        throw new FrameError(Rule.Payload, s"${Codec.Names(frame.codec)}: $said".take(200))
    }

  /** A picture's own size must be the frame's, before anything is decompressed. */
  def refuseSize(frame: Frame, width: Long, height: Long): Unit =
    if (width != frame.width || height != frame.height) {
      throw new FrameError(
        Rule.Dimensions,
        s"$width x $height in the payload, ${frame.width} x ${frame.height} in the frame"
      )
    }
}

/** Decimal numbers from 0 to 255 between white space, each as Python's `int` takes it. */
private object Numbers {

  /** More digits in one number Python refuses. */
  private val DigitsMax = 4300

  def read(payload: Array[Byte]): Array[Byte] = {
    val values = new Array[Byte](payload.length / 2 + 1)
    var (count, at) = (0, 0)
    while ({ at = pastBlanks(payload, at); at < payload.length }) {
      val from = at
      while (at < payload.length && !isBlank(payload(at))) at += 1
      values(count) = number(payload, from, at).toByte
      count += 1
    }
    java.util.Arrays.copyOf(values, count)
  }

  private def pastBlanks(payload: Array[Byte], start: Int): Int = {
    var at = start
    while (at < payload.length && isBlank(payload(at))) at += 1
    at
  }

  private def isBlank(byte: Byte): Boolean = byte == ' ' || (byte >= 9 && byte <= 13)

  /** A sign, then digits with single underscores between them. */
  private def number(payload: Array[Byte], from: Int, end: Int): Int = {
    val signed = payload(from) == '-' || payload(from) == '+'
    var (at, value, digits, wasDigit, legal) = (if (signed) from + 1 else from, 0, 0, false, true)
    while (at < end) {
      val byte = payload(at)
      if (byte >= '0' && byte <= '9') {
        value = math.min(10 * value + byte - '0', 256)
        digits += 1
        wasDigit = true
      } else {
        legal = legal && byte == '_' && wasDigit
        wasDigit = false
      }
      at += 1
    }
    if (!legal || !wasDigit || digits > DigitsMax) refuse("is no number", payload, from, end)
    if (value > 255 || (value > 0 && payload(from) == '-')) refuse("is not in 0..255", payload, from, end)
    value
  }

  private def refuse(why: String, payload: Array[Byte], from: Int, end: Int): Nothing = {
    val word = new String(payload, from, math.min(40, end - from), ISO_8859_1)
    throw new FrameError(Rule.Payload, s"text: ${Frame.quoted(word)} $why")
  }
}

/** PNG by hand, because Java's own reader gives other colours than Pillow does, or none.
  *
  * Of the chunks after the image's start neither looks at the check sums; the frame's own has spoken for them.
  * Chunks that tell of colour spaces, text or animation are passed over, whatever is in them. A picture with rows
  * missing at its end is refused, where Pillow would make them black.
  */
private object Png {
  private val Signature = Hex.bytes("89504e470d0a1a0a")
  private val (ihdr, plte, idat, iend) = (name("IHDR"), name("PLTE"), name("IDAT"), name("IEND"))

  private final class Refused(text: String) extends Exception(text, null, false, false)

  /** What IHDR says. */
  private final class Head(val width: Long, val height: Long, val depth: Int, val kind: Int, val interlaced: Boolean) {
    val channels: Int = kind match {
      case 0 | 3 => 1
      case 2     => 3
      case 4     => 2
      case 6     => 4
    }
  }

  def decode(frame: Frame): Array[Byte] = {
    val payload = frame.payload
    if (!payload.startsWith(Signature)) throw new Refused("not a PNG file")
    var (head, palette, at) = (null: Head, Array.emptyByteArray, Signature.length)
    while ({ val kind = chunkAt(payload, at); kind != idat && kind != iend }) {
      val length = checked(payload, at)
      val content = java.util.Arrays.copyOfRange(payload, at + 8, at + 8 + length)
      chunkAt(payload, at) match {
        case `ihdr` => head = headOf(content)
        case `plte` =>
          if (content.length > 3 * 256) throw new Refused("a palette of more than 256 colours")
          palette = content
        case _      =>
      }
      at += 12 + length
    }
    if (head == null) throw new Refused("no header")
    Pictures.refuseSize(frame, head.width, head.height)
    if (chunkAt(payload, at) == iend) throw new Refused("no image")
    new Pixels(head, palette).read(payload, at)
  }

  /** The chunk's name as a number; its letters are checked. */
  private def chunkAt(payload: Array[Byte], at: Int): Int = {
    if (at + 8 > payload.length) throw new Refused("cut off before the image")
    for (place <- at + 4 until at + 8) {
      val letter = payload(place)
      if (!(letter == '_' || (letter < 128 && Character.isLetterOrDigit(letter.toInt)))) throw new Refused("broken chunk")
    }
    int(payload, at + 4)
  }

  /** The chunk's length, once all of it is there and its check sum is right. */
  private def checked(payload: Array[Byte], at: Int): Int = {
    val length = int(payload, at) & 0xffffffffL
    if (at + 12 + length > payload.length) throw new Refused("cut off inside a chunk")
    val sum = new CRC32
    sum.update(payload, at + 4, length.toInt + 4)
    if (sum.getValue.toInt != int(payload, at + 8 + length.toInt)) throw new Refused("bad check sum of a chunk")
    length.toInt
  }

  private def headOf(content: Array[Byte]): Head = {
    if (content.length < 13) throw new Refused("header cut off")
    val (width, height) = (int(content, 0) & 0xffffffffL, int(content, 4) & 0xffffffffL)
    val (depth, kind) = (content(8).toInt, content(9).toInt)
    val known = kind match {
      case 0         => Set(1, 2, 4, 8, 16)
      case 3         => Set(1, 2, 4, 8)
      case 2 | 4 | 6 => Set(8, 16)
      case _         => Set.empty[Int]
    }
    if (!known(depth)) throw new Refused(s"unknown depth $depth of colour type $kind")
    if (content(11) != 0) throw new Refused("unknown filter category")
    if (width == 0 || height == 0) throw new Refused(s"$width x $height pixels")
    new Head(width, height, depth, kind, interlaced = content(12) != 0)
  }

  private def int(bytes: Array[Byte], at: Int): Int =
    bytes(at) << 24 | (bytes(at + 1) & 0xff) << 16 | (bytes(at + 2) & 0xff) << 8 | (bytes(at + 3) & 0xff)

  private def name(text: String): Int = int(text.getBytes(ISO_8859_1), 0)

  /** The rows of a picture whose size is known to be right. */
  private final class Pixels(head: Head, palette: Array[Byte]) {
    private val (width, height) = (head.width.toInt, head.height.toInt)
    private val out = new Array[Byte](width * height * 3)
    private val bitsPerPixel = head.channels * head.depth
    private val step = math.max(1, bitsPerPixel / 8)

    /** Nearly always: its rows are the image's. */
    private val plain = head.kind == 2 && head.depth == 8 && !head.interlaced

    /** Of the picture, or of Adam7's seven: first column and row, then the distances. */
    private val passes =
      if (!head.interlaced) Seq((0, 0, 1, 1))
      else Seq((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))

    def read(payload: Array[Byte], start: Int): Array[Byte] = {
      val inflater = new Inflater
      try {
        val stream = new Stream(inflater, payload, start)
        for ((left, top, right, down) <- passes if left < width && top < height) {
          val columns = (width - left + right - 1) / right
          var row, above = new Array[Byte]((columns * bitsPerPixel + 7) / 8 + 1)
          for (y <- top until height by down) {
            stream.fill(row)
            unfilter(row, above)
            if (plain) System.arraycopy(row, 1, out, 3 * y * width, 3 * width)
            else for (column <- 0 until columns) put(row, column, 3 * (y * width + left + column * right))
            val done = row
            row = above
            above = done
          }
        }
      } finally inflater.end()
      out
    }

    /** A row's first byte names its filter. */
    private def unfilter(row: Array[Byte], above: Array[Byte]): Unit = {
      val filter = row(0).toInt
      if (filter < 0 || filter > 4) throw new Refused(s"unknown filter $filter")
      var at = 1
      while (filter != 0 && at < row.length) {
        val left = if (at > step) row(at - step) & 0xff else 0
        val corner = if (at > step) above(at - step) & 0xff else 0
        val up = above(at) & 0xff
        val guess = filter match {
          case 1 => left
          case 2 => up
          case 3 => (left + up) / 2
          case 4 => paeth(left, up, corner)
        }
        row(at) = (row(at) + guess).toByte
        at += 1
      }
    }

    private def paeth(left: Int, up: Int, corner: Int): Int = {
      val byLeft = math.abs(up - corner)
      val byUp = math.abs(left - corner)
      val byCorner = math.abs(left + up - 2 * corner)
      if (byLeft <= byUp && byLeft <= byCorner) left else if (byUp <= byCorner) up else corner
    }

    private def put(row: Array[Byte], column: Int, at: Int): Unit = {
      val from = 1 + column * bitsPerPixel / 8
      head.kind match {
        case 0 | 4 => java.util.Arrays.fill(out, at, at + 3, grey(row, column, from))
        case 3 =>
          val entry = 3 * sample(row, column)
          for (channel <- 0 until 3) out(at + channel) = if (entry + channel < palette.length) palette(entry + channel) else 0
        case _ => // of 16 bits the upper eight
          for (channel <- 0 until 3) out(at + channel) = row(from + channel * head.depth / 8)
      }
    }

    /** Sixteen bits of grey without alpha Pillow keeps, and cuts at 255 when it turns them into RGB. */
    private def grey(row: Array[Byte], column: Int, from: Int): Byte =
      if (head.depth == 16 && head.kind == 0) (if (row(from) != 0) 255.toByte else row(from + 1))
      else if (head.depth >= 8) row(from)
      else (sample(row, column) * 255 / ((1 << head.depth) - 1)).toByte

    /** A number of eight bits or less; the first of a byte stands in its upper bits. */
    private def sample(row: Array[Byte], column: Int): Int = {
      val bit = column * head.depth
      (row(1 + bit / 8) & 0xff) >> (8 - head.depth - bit % 8) & ((1 << head.depth) - 1)
    }
  }

  /** What the image's chunks hold, decompressed no further than asked. */
  private final class Stream(inflater: Inflater, payload: Array[Byte], start: Int) {
    private var next = start

    def fill(row: Array[Byte]): Unit = {
      var got = 0
      while (got < row.length) {
        val more =
          try inflater.inflate(row, got, row.length - got)
          catch { case error: DataFormatException => throw new Refused(s"broken: ${error.getMessage}") }
        got += more
        if (more == 0) {
          if (inflater.finished || inflater.needsDictionary) throw new Refused("too few pixels")
          feed()
        }
      }
    }

    private def feed(): Unit = {
      if (chunkAt(payload, next) != idat) throw new Refused("cut off")
      val length = math.min(int(payload, next) & 0xffffffffL, (payload.length - next - 8).toLong).toInt
      inflater.setInput(payload, next + 8, length)
      next += 12 + length
    }
  }
}

/** JPEG by the JDK's own reader: another one on the class path may decode to other pixels.
  *
  * Its pixels are Pillow's, bit for bit. It reads no picture of four colours (CMYK), which Pillow does.
  */
private object Jpeg {
  private val Name = "com.sun.imageio.plugins.jpeg.JPEGImageReaderSpi"

  private val Provider: ImageReaderSpi = {
    val known = IIORegistry.getDefaultInstance.getServiceProviders(classOf[ImageReaderSpi], false)
    Iterator.continually(known).takeWhile(_.hasNext).map(_.next()).find(_.getClass.getName == Name).getOrElse {
      throw new IllegalStateException("this Java has no JPEG reader of its own")
    }
  }

  def decode(frame: Frame): Array[Byte] = {
    val reader = Provider.createReaderInstance() // a new one each time: it keeps tables for a picture that lacks its own
    var whole = true
    try {
      reader.addIIOReadWarningListener((_, warning) => whole &&= !warning.contains("EOI"))
      reader.setInput(new MemoryCacheImageInputStream(new ByteArrayInputStream(withoutProfile(frame.payload))), true, true)
      val (width, height) = (reader.getWidth(0), reader.getHeight(0))
      Pictures.refuseSize(frame, width, height)
      // The samples themselves: an image's colours would be converted once more.
      val raster = reader.read(0).getRaster
      val bands = raster.getNumBands
      if (!whole) throw new IllegalArgumentException("cut off")
      if (bands != 1 && bands != 3) throw new IllegalArgumentException(s"$bands channels")
      val samples = raster.getPixels(0, 0, width, height, null: Array[Int])
      Array.tabulate(width * height * 3)(at => samples(if (bands == 3) at else at / 3).toByte)
    } finally reader.dispose()
  }

  /** Leave out a colour profile, which stands in segments APP2: Java would convert to it, Pillow does not. */
  private def withoutProfile(payload: Array[Byte]): Array[Byte] = {
    val kept = new ByteArrayOutputStream(payload.length)
    var (from, at) = (0, 2)
    // From segment to segment, as far as they are whole; the image itself begins with SOS.
    while (at + 4 <= payload.length && payload(at) == 0xff.toByte && payload(at + 1) != 0xda.toByte) {
      val next = at + 2 + ((payload(at + 2) & 0xff) << 8 | (payload(at + 3) & 0xff))
      if (payload(at + 1) == 0xe2.toByte) {
        kept.write(payload, from, at - from)
        from = math.min(next, payload.length)
      }
      at = next
    }
    kept.write(payload, from, payload.length - from)
    kept.toByteArray
  }
}
