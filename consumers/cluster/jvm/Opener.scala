package edgewise.cluster

import java.nio.charset.StandardCharsets.UTF_8

/** A frame that keeps all rules, and its image: height x width x 3 bytes, RGB. */
final class Opened(val frame: Frame, val image: Array[Byte])

/** Opens frames for a model that takes images of this size; the twin of `edgewise.arrival`. */
final class Opener(height: Int, width: Int) {
  /** @param camera whose it says it is, by its Kafka key
    * @throws FrameError when it breaks a rule, or the model takes other images
    */
  def open(camera: String, wire: Array[Byte]): Opened = picture(unseal(camera, wire))

  /** Decode a frame as far as its camera and number can be trusted; its image is not looked at. */
  def unseal(camera: String, wire: Array[Byte]): Frame = {
    val frame = Frame.decode(wire)
    val inside = new String(frame.camera, UTF_8)
    if (inside != camera) {
      throw new FrameError(Rule.Camera, s"${Frame.quoted(inside)} inside, ${Frame.quoted(camera)} on the way")
    }
    frame
  }

  /** Decode an unsealed frame's image. */
  def picture(frame: Frame): Opened = {
    if (frame.height != height || frame.width != width) { // before decoding: a picture may unpack to megabytes
      val found = s"${frame.width} x ${frame.height} pixels"
      throw new FrameError(Rule.Dimensions, s"$found, the model takes $width x $height")
    }
    new Opened(frame, Pictures.decode(frame))
  }
}
