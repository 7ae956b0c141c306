// SPDX-License-Identifier: Apache-2.0

/// What a request must hold to before libcurl sees it.
enum HTTPRequestRules {
    /// Refuses what would end a header or the request line early and smuggle another one in.
    static func check(_ request: HTTPRequest) throws(HTTPError) {
        let shown = RedactedURL.text(request.url)
        let lowered = request.url.lowercased()
        guard lowered.hasPrefix("http://") || lowered.hasPrefix("https://") else {
            throw .invalidRequest(url: shown, reason: "it is no http:// or https:// URL")
        }
        guard request.url.unicodeScalars.allSatisfy({ $0.value > 32 && $0.value != 127 }) else {
            throw .invalidRequest(url: shown, reason: "it holds a blank or a control character")
        }
        for header in request.headers {
            let isToken = header.name.utf8.allSatisfy {
                (48...57).contains($0) || (65...90).contains($0) || (97...122).contains($0) || $0 == 45 || $0 == 95
            }
            guard !header.name.isEmpty, isToken else {
                throw .invalidRequest(url: shown, reason: "it has a header with an invalid name")
            }
            guard header.value.utf8.allSatisfy({ $0 >= 32 && $0 != 127 || $0 == 9 }) else {
                throw .invalidRequest(
                    url: shown, reason: "the value of header '\(header.name)' has a control character")
            }
        }
        if case .none = request.body { return }
        guard request.method == .put || request.method == .post else {
            throw .invalidRequest(url: shown, reason: "\(request.method.rawValue) takes no body")
        }
        if case .stream(let length, _) = request.body, Int64(exactly: length) == nil {
            throw .invalidRequest(url: shown, reason: "its body is too long")
        }
    }

    /// Whether the host of the URL is this machine: `localhost`, `127.0.0.0/8`, `::1`.
    static func isLoopback(_ url: String) -> Bool {
        guard let start = url.firstRange(of: "://")?.upperBound else { return false }
        var host = url[start...].prefix { !"/?#".contains($0) }
        if let at = host.lastIndex(of: "@") { host = host[host.index(after: at)...] }
        if host.hasPrefix("[") { return host.hasPrefix("[::1]") }
        let name = host.prefix { $0 != ":" }.lowercased()
        return name == "localhost" || name.hasSuffix(".localhost") || name.hasPrefix("127.")
    }
}
