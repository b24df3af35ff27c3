package mls

// SignWithLabel signs content under a label of the application (RFC 9420,
// section 5.1.2, SignContent): for signed objects outside MLS messages. The
// label must not be one of the RFC's.
func SignWithLabel(c CipherSuite, signer Signer, label string, content []byte) ([]byte, error) {
	s, err := suiteByID(c)
	if err != nil {
		return nil, err
	}
	return s.signWithLabel(signer, label, content)
}

// VerifyWithLabel verifies such a signature under a public signature key. The
// error is ErrSignature.
func VerifyWithLabel(c CipherSuite, public []byte, label string, content, signature []byte) error {
	s, err := suiteByID(c)
	if err != nil {
		return err
	}
	return s.verifyWithLabel(public, label, content, signature)
}
