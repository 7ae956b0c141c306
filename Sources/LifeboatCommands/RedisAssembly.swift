// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatHTTP
import LifeboatIO
import LifeboatPolicy
import LifeboatServices
import LifeboatStores

/// Policy words of the stores `redis` and `command` as live things.
extension StackAssembly {
    func redis(_ redis: RedisPolicy, _ name: String) throws -> RedisStore {
        let container = redis.container.map(serverContainer)
        let host = redis.host ?? (redis.container == nil ? "127.0.0.1" : "")
        let address = RawAddress(
            host: redis.socket == nil ? host : "localhost", port: UInt16(exactly: redis.port ?? 6379) ?? 6379,
            unixSocket: redis.socket,
            tls: redis.tls.map {
                RawAddress.TLS(authority: $0.authority, certificate: $0.certificate, key: $0.key)
            })
        let password = try redis.password.map {
            try secret($0, "password of Redis at \(redis.address)", "components.\(name).redis.password")
        }
        let options = RedisStore.Options(
            transfer: redis.transfer.flatMap { RedisStore.Transfer(rawValue: $0.rawValue) }, data: redis.data,
            spoolFolder: session.context.variable("TMPDIR") ?? "/var/tmp")
        return RedisStore(
            RedisEndpoint(address, user: redis.user, password: password), container: container, options: options,
            runner: runner)
    }

    func command(_ command: CommandPolicy, _ name: String) throws -> CommandStore {
        var environment: [String: Secret] = [:]
        for (variable, reference) in command.environment.sorted(by: { $0.key < $1.key }) {
            environment[variable] = try secret(
                reference, "value of \(variable) for component '\(name)'",
                "components.\(name).command.environment.\(variable)")
        }
        let context = session.context
        let state = try StateFolder.path(environment: context.environment, userID: context.host.userID)
        return CommandStore(
            name: name, capture: command.capture, restore: command.restore, minimum: command.minimum,
            environment: environment, keepsOld: command.keepsOld, folder: policy.folder,
            stagingFolder: "\(state)/staged", runner: runner)
    }

    /// `key` is the place in the policy, for the hint.
    private func secret(_ reference: SecretReference, _ subject: String, _ key: String) throws -> Secret {
        do {
            return try secrets.resolve(reference, for: subject, cancellation: session.context.cancellation)
        } catch {
            guard error.hint == nil, error.exitCode != .interrupted else { throw error }
            throw LifeboatError(
                error.message, causes: error.causes, hint: "Correct '\(key)' in the policy, or what it names.",
                exitCode: error.exitCode)
        }
    }
}
