// SPDX-License-Identifier: Apache-2.0

import LifeboatBackup
import LifeboatCore
import LifeboatFormats
import LifeboatRepository
import LifeboatRestore
import LifeboatStores
import Testing

struct SecretFingerprintTests {
    @Test func `a fingerprint depends on secret, name and salt and is small`() throws {
        let salt = try SecretFingerprint.newSalt()
        let other = try SecretFingerprint.newSalt()
        #expect(salt.count == 32 && salt != other)
        let one = try SecretFingerprint.make(Secret("hunter2"), name: "A", salt: salt)
        #expect(one.count == 4)
        #expect(try SecretFingerprint.make(Secret("hunter2"), name: "A", salt: salt) == one)
        // Each of these is the same once in 65,536 runs; all three of them never.
        let others = [
            try SecretFingerprint.make(Secret("hunter3"), name: "A", salt: salt),
            try SecretFingerprint.make(Secret("hunter2"), name: "B", salt: salt),
            try SecretFingerprint.make(Secret("hunter2"), name: "A", salt: other),
        ]
        #expect(others.filter { $0 == one }.count < 2)
    }

    @Test func `the formula is fixed, for old snapshots are compared with it`() throws {
        let salt = "000102030405060708090a0b0c0d0e0f"
        // hashlib.scrypt(b"hunter2", salt=b"lifeboat secret fingerprint\0JWT\0" + salt, n=2**15, r=8, p=1)[:2]
        #expect(try SecretFingerprint.make(Secret("hunter2"), name: "JWT", salt: salt) == "f526")
    }

    @Test func `snapshots keep fingerprints under one salt, and tell what is missing`() throws {
        let fixture = try BackupFixture()
        defer { fixture.remove() }
        try fixture.fill(seed: 3)
        func backUp(_ value: String) throws -> BackupOutcome {
            var request = BackupRequest(
                stack: "test", host: "host",
                components: [
                    BackupComponent(name: "files", store: VolumeStore(path: fixture.source), source: fixture.source)
                ], policyText: nil, lifeboatVersion: "test")
            request.secrets = [
                BackupSecret(name: "JWT", value: .success(Secret(value)), breaks: "sessions end"),
                BackupSecret(name: "GONE", value: .failure(LifeboatError("nobody has it")), breaks: nil),
            ]
            return try BackupEngine(
                repository: fixture.repository,
                settings: BackupEngine.settings(processors: 1, components: 1, compressionLevel: 3),
                clock: SystemClock(), progress: SilentProgress(), cancellation: Cancellation()
            ).run(request)
        }
        let first = try backUp("one")
        let second = try backUp("one")
        let kept = try #require(first.snapshot.manifest.secrets)
        #expect(second.snapshot.manifest.secrets == kept)
        #expect(kept.fingerprints.map(\.name) == ["JWT"])
        #expect(first.snapshot.manifest.complete)
        #expect(
            first.warnings.map(\.description).contains(
                "error: the snapshot keeps no fingerprint of secret 'GONE'\ncause: nobody has it"))

        func warnings(_ value: Result<Secret, LifeboatError>, _ breaks: String? = nil) throws -> [String] {
            try SecretComparison.warnings(kept, breaks: { _ in breaks }, secret: { _ in value })
        }
        #expect(try warnings(.success(Secret("one"))) == [])
        #expect(
            try warnings(.failure(LifeboatError("not set"))) == [
                "secret 'JWT' cannot be compared with the snapshot (not set); if it is another one: sessions end"
            ])
        let differing = try ["two", "three"].map { try warnings(.success(Secret($0)), "all is lost") }
        #expect(
            differing.contains(["secret 'JWT' is not the one the snapshot was made with: all is lost"]))
    }
}
