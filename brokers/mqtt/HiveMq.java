import com.hivemq.HiveMQServer;
import com.hivemq.configuration.service.InternalConfigurations;

/**
 * Starts HiveMQ with the settings that its configuration file does not offer.
 *
 * Janino compiles this at every start, so that a user needs no compiler and the repository no binary.
 */
public class HiveMq {
    public static void main(String[] arguments) throws Exception {
        // Without a security extension every client would be refused. We listen on the loopback only.
        InternalConfigurations.AUTH_DENY_UNAUTHENTICATED_CONNECTIONS.set(false);

        // 64 stores each are for a server with many cores; opening them took a second.
        InternalConfigurations.PERSISTENCE_BUCKET_COUNT.set(4);
        InternalConfigurations.PAYLOAD_PERSISTENCE_BUCKET_COUNT.set(4);

        // Up to here the client's receive maximum decides. Not 65535: with that a session sometimes found no free packet
        // id when it inherited frames from a dead member of a shared subscription, and was sent nothing more (7 of 40).
        InternalConfigurations.MAX_INFLIGHT_WINDOW_SIZE_MESSAGES = 1000;

        // How long a stop waits for work that may still come; what was confirmed is on disk before.
        InternalConfigurations.PERSISTENCE_SHUTDOWN_GRACE_PERIOD_MSEC.set(200);

        HiveMQServer.main(arguments);
    }
}
