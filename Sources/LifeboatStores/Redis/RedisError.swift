// SPDX-License-Identifier: Apache-2.0

package import LifeboatCore
package import LifeboatHTTP

/// What a Redis server, or the way to it, reports.
package enum RedisError: Error, LifeboatErrorConvertible, Equatable {
    case connection(RawConnectionError)
    /// The server answered a command with an error. `code` is its first word (`WRONGPASS`, `NOPERM`, `ERR`): the only
    /// thing decisions are made by.
    case refused(address: String, command: String, code: String, message: String)
    /// What came is not the Redis protocol.
    case protocolViolation(address: String, what: String)

    /// Nil when the server said nothing.
    package var code: String? {
        guard case .refused(_, _, let code, _) = self else { return nil }
        return code
    }

    package var lifeboatError: LifeboatError {
        switch self {
        case .connection(let error):
            var told = error.lifeboatError
            switch error {
            case .cancelled: return told
            case .unreachable:
                told.hint =
                    "Start the server, or correct its address ('host', 'port', 'socket', 'tls') in the policy."
            case .closed, .failed, .stalled:
                told.hint = "Look at the server's log, then run the same command again."
            }
            return told
        case .refused(let address, let command, let code, let message):
            return LifeboatError(
                "Redis at \(address) refuses the command \(command)", causes: ["\(code) \(message)"],
                hint: Self.hint(code))
        case .protocolViolation(let address, let what):
            return LifeboatError(
                "the server at \(address) does not speak the Redis protocol", causes: [what],
                hint: "Check 'host', 'port' and 'tls' of the component in the policy.")
        }
    }

    private static func hint(_ code: String) -> String? {
        switch code {
        case "WRONGPASS", "NOAUTH": "Check 'user' and 'password' of the component in the policy."
        case "NOPERM": "Grant the user these rights: ACL SETUSER … +@read +info +config|get +psync +replconf +ping."
        case "LOADING": "The server is still loading its data: run the same command again in a moment."
        case "DENIED": "Protected mode: give the server a password, or connect from its own host."
        case "NOMASTERLINK": "The server is a replica without its primary: back up the primary, or another replica."
        default: nil
        }
    }
}
