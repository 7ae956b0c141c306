// SPDX-License-Identifier: Apache-2.0

package import LifeboatCore
import LifeboatFormats

/// Numbers of a volume for the policy's checks.
extension VolumeStore: NumberSource {
    /// Regular files that fit the pattern, each counted once; the rules are those of `ExcludePatterns`. What the volume
    /// leaves out is not counted.
    package func number(_ question: CheckQuestion, _ cancellation: Cancellation) throws -> Double {
        guard case .files(let pattern) = question else { throw question.notAnswered(by: subject) }
        let patterns = ExcludePatterns([pattern])
        let walk = try walk(cancellation)
        defer { walk.close() }
        var count = 0
        while let item = try walk.next() {
            try cancellation.check()
            guard item.note != .vanished, item.entry.kind == .file, item.entry.hardLink == nil else { continue }
            let path = item.entry.path
            let start = path.lastIndex(of: 0x2F).map { $0 + 1 } ?? 0
            if patterns.matches(name: path[start...], in: Array(path[..<max(0, start - 1)])) { count += 1 }
        }
        return Double(count)
    }
}
